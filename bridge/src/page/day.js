// The last day: minutes from the daemon, put together for the pictures, each with its words and its table.

import { bars, ranges, runs, steps, strip } from "./pictures.js";
import { hour, make, moment, number, say, span } from "./words.js";

const SLOT_MS = 10 * 60_000;
const HOUR_MS = 3_600_000;
/** Pictures wider than this gain nothing. */
const WIDEST = 1_200;
/** Losses of the link shorter than this are a reconnect, not an outage; they are drawn as such. */
const OUTAGE_MS = 5_000;

const box = () => document.getElementById("pictures");
let last = null;

/** Rows of cells to values with names. */
function read(history) {
  const place = Object.fromEntries(history.columns.map((name, index) => [name, index]));
  return history.minutes.map((row) => ({
    at: row[place.minute] * 60_000,
    up: row[place.link_up_ms],
    down: row[place.link_down_ms],
    systemsUp: row[place.systems_up],
    systemsDown: row[place.systems_down],
    value: row[place.queued],
    mark: row[place.in_doubt],
    done: row[place.done],
    failed: row[place.failed],
    counts: row[place.latency_counts],
  }));
}

function added(into, counts) {
  for (let index = 0; index < counts.length; index += 2) into[counts[index]] = (into[counts[index]] ?? 0) + counts[index + 1];
}

/** The bound below which `share` of the counted lie; what lies above the last bound counts as that bound. */
function quantile(counts, bounds, share) {
  const total = counts.reduce((sum, count) => sum + (count ?? 0), 0);
  let seen = 0;
  for (let index = 0; index < counts.length; index += 1) {
    seen += counts[index] ?? 0;
    if (total > 0 && seen >= total * share) return bounds[Math.min(index, bounds.length - 1)];
  }
  return null;
}

/** Minutes put together by slots of `size`, those with nothing in them left out. */
function slotsOf(minutes, size, bounds) {
  const slots = new Map();
  for (const minute of minutes) {
    const from = Math.floor(minute.at / size) * size;
    const slot = slots.get(from)
      ?? { from, to: from + size, done: 0, failed: 0, counts: [], up: 0, down: 0, value: 0, mark: 0 };
    for (const name of ["done", "failed", "up", "down"]) slot[name] += minute[name];
    slot.value = Math.max(slot.value, minute.value);
    slot.mark = Math.max(slot.mark, minute.mark);
    added(slot.counts, minute.counts);
    slots.set(from, slot);
  }
  return [...slots.values()].sort((one, other) => one.from - other.from).map((slot) => ({
    ...slot, low: quantile(slot.counts, bounds, 0.5), high: quantile(slot.counts, bounds, 0.99),
  }));
}

function table(caption, head, rows) {
  const cell = (text, index) => (index === 0 ? make("th", { scope: "row" }, text) : make("td", { class: "right" }, text));
  return make("details", { class: "as-table" },
    make("summary", {}, "As a table", make("span", { class: "visually-hidden" }, `: ${caption}`)),
    rows.length === 0 ? make("p", { class: "muted" }, "Nothing to list.") : make("div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, table` },
      make("table", {},
        make("thead", {}, make("tr", {}, ...head.map((text, index) =>
          make("th", { scope: "col", class: index > 0 ? "right" : null }, text)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))))));
}

function picture(name, words, drawing, data, legend = []) {
  return make("figure", { "data-picture": name },
    make("figcaption", {}, make("h3", {}, name), make("p", { class: "words" }, words)),
    drawing,
    legend.length === 0 ? null : make("ul", { class: "legend" }, ...legend.map(([kind, text]) =>
      make("li", {}, make("span", { class: `key ${kind}`, "aria-hidden": "true" }), text))),
    data);
}

/** `exact`: for how long it was down, ms; without, only the minutes are known in which it was. */
function outages(found, unit, now, exact) {
  const downs = found.filter(([, , kind]) => kind === "down");
  if (found.length === 0) return ["Nothing is known yet.", []];
  const minutes = downs.reduce((sum, [from, to]) => sum + Math.round((to - from) / 60_000), 0);
  const length = exact === null ? `within ${minutes} min` : `${span(exact)} in all`;
  const brief = found.some(([, , kind]) => kind === "brief") ? ", but for seconds" : "";
  const words = downs.length === 0
    ? `${unit} was up all the time it was watched${brief}.`
    : `${unit} was down ${downs.length === 1 ? "once" : `${downs.length} times`}, ${length}.`;
  return [words, downs.map(([from, to]) => [moment(from, now), to >= now ? "goes on" : hour(to), span(Math.min(to, now) - from)])];
}

function strips(minutes, systems, width, now) {
  const link = runs(minutes, (minute) =>
    minute.up + minute.down === 0 ? null : minute.down > OUTAGE_MS ? "down" : minute.down > 0 ? "brief" : "up");
  const lost = minutes.reduce((sum, minute) => sum + minute.down, 0);
  const rows = [["Cloud link", "The link", link, lost]];
  systems.slice(0, 32).forEach((name, index) => {
    const bit = 2 ** index;
    const holds = (mask) => Math.floor(mask / bit) % 2 === 1;
    rows.push([`Lock system ${name}`, "It", runs(minutes, (minute) =>
      holds(minute.systemsDown) ? "down" : holds(minute.systemsUp) ? "up" : null), null]);
  });
  return rows.map(([name, unit, found, exact]) => {
    const [words, downs] = outages(found, unit, now, exact);
    return picture(name, words, strip(width, now, found, `${name}: ${words}`),
      table(`${name}, times down`, ["From", "To", "At most"], downs));
  });
}

function shown() {
  const { history, systems } = last;
  const now = history.now_ms;
  const width = Math.min(Math.max(box().clientWidth, 280), WIDEST);
  const minutes = read(history);
  const bounds = history.latency_bounds_ms;
  const slots = slotsOf(minutes, SLOT_MS, bounds);
  const hourly = slotsOf(minutes, HOUR_MS, bounds);
  const total = (name) => minutes.reduce((sum, minute) => sum + minute[name], 0);
  const counts = [];
  minutes.forEach((minute) => added(counts, minute.counts));

  const [done, failed] = [total("done"), total("failed")];
  const work = `${number(done)} done, ${number(failed)} failed.`;
  const timed = slots.filter((slot) => slot.low !== null);
  const middle = quantile(counts, bounds, 0.5);
  const speed = middle === null ? "Nothing was carried out."
    : `Half took at most ${span(middle)}, 99 of 100 at most ${span(quantile(counts, bounds, 0.99))}.`;
  const most = Math.max(0, ...minutes.map((minute) => minute.value));
  const doubt = Math.max(0, ...minutes.map((minute) => minute.mark));
  const depth = most + doubt === 0 ? "Nothing waited." : `At most ${number(most)} waited${doubt > 0 ? `, at most ${number(doubt)} were in doubt` : ""}.`;
  const rows = (of) => hourly.map((slot) => [`${moment(slot.from, now)}`, ...of(slot)]);
  const busy = (slot) => slot.done + slot.failed > 0;

  return [
    ...strips(minutes, systems, width, now),
    picture("Commands", work,
      bars(width, now, slots.filter(busy).map((slot) => ({ ...slot, parts: [["done", slot.done], ["failed", slot.failed]] })),
        `Commands by ten minutes: ${work}`),
      table("Commands by the hour", ["Hour from", "Done", "Failed"],
        rows((slot) => [number(slot.done), number(slot.failed)]).filter((row) => row[1] !== "0" || row[2] !== "0")),
      [["done", "done"], ["failed", "failed, refused, expired or given up"]]),
    picture("From receipt to outcome", speed,
      ranges(width, now, timed, `Time from receipt to outcome by ten minutes: ${speed}`),
      table("Time from receipt to outcome by the hour", ["Hour from", "Half within", "99 of 100 within"],
        hourly.filter((slot) => slot.low !== null)
          .map((slot) => [moment(slot.from, now), span(slot.low), span(slot.high)])),
      [["middle", "half within"], ["range", "up to 99 of 100"]]),
    picture("Queue", depth,
      steps(width, now, minutes, `Waiting commands by the minute: ${depth}`),
      table("Waiting commands by the hour", ["Hour from", "Most waiting", "Most in doubt"],
        rows((slot) => [number(slot.value), number(slot.mark)]).filter((row) => row[1] !== "0" || row[2] !== "0")),
      [["waiting", "waiting"], ["doubtful", "in doubt"]]),
  ];
}

function redraw() {
  if (last === null) return;
  // Tables that are open stay open, and focus stays where it is.
  const open = [...box().querySelectorAll("figure")].filter((it) => it.querySelector("details")?.open)
    .map((it) => it.dataset.picture);
  const inside = document.activeElement?.closest?.("#pictures figure")?.dataset.picture;
  const where = document.activeElement?.tagName;
  box().replaceChildren(...shown());
  for (const it of box().querySelectorAll("figure")) {
    if (open.includes(it.dataset.picture)) it.querySelector("details").open = true;
    if (it.dataset.picture === inside) it.querySelector(where === "SUMMARY" ? "summary" : ".scroll")?.focus();
  }
}

export function showDay(history, systems) {
  last = { history, systems };
  const watched = history.watched_since_ms;
  const day = history.now_ms - watched >= 24 * HOUR_MS;
  say(document.getElementById("day-note"), day || watched === 0 ? ""
    : `Link, lock systems and queue are watched since ${moment(watched, history.now_ms)}, when the daemon started; `
      + `before that is not known. Commands are read back from the journal.`);
  redraw();
}

export function setUpDay() {
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(box().clientWidth - width) < 2) return;
    width = box().clientWidth;
    redraw();
  }).observe(box());
}
