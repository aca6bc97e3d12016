// The pictures of a day: strips of up and down, bars, ranges, an area. Drawn to the width they are given.

import { draw, hour } from "./words.js";

const DAY_MS = 24 * 3600 * 1000;
const HOUR_MS = 3600 * 1000;
/** Room for the scale at the left, and for the hours below. */
const LEFT = 46;
const BELOW = 18;
const ABOVE = 8;

/** A drawing area: x by time, y by value. */
function canvas(width, height, now, label) {
  const from = now - DAY_MS;
  const right = width - 2;
  const x = (ms) => LEFT + ((ms - from) / DAY_MS) * (right - LEFT);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, focusable: "false",
  });
  return { svg, x, from, right, width, height, bottom: height - BELOW };
}

/** Ticks at round hours of the browser's zone. */
function hours(area, lines) {
  const step = area.width < 560 ? 6 : 3;
  const tick = new Date(area.from);
  tick.setMinutes(0, 0, 0);
  for (let ms = tick.getTime() + HOUR_MS; ms <= area.from + DAY_MS; ms += HOUR_MS) {
    if (new Date(ms).getHours() % step !== 0) continue;
    const x = area.x(ms);
    if (lines) area.svg.append(draw("line", { x1: x, x2: x, y1: ABOVE, y2: area.bottom, class: "grid" }));
    // At the ends a label would be cut.
    if (x < LEFT + 14 || x > area.right - 18) continue;
    area.svg.append(draw("text", { x, y: area.height - 4, class: "tick", "text-anchor": "middle" }, hour(ms)));
  }
}

function scale(area, marks) {
  for (const [y, text] of marks) {
    area.svg.append(draw("line", { x1: LEFT, x2: area.right, y1: y, y2: y, class: "grid" }));
    area.svg.append(draw("text", { x: LEFT - 6, y: y + 4, class: "tick", "text-anchor": "end" }, text));
  }
}

/** Joins neighbours that are alike: `[from, to, what]`. */
export function runs(minutes, what) {
  const found = [];
  for (const minute of minutes) {
    const kind = what(minute);
    if (kind === null) continue;
    const last = found.at(-1);
    if (last && last[2] === kind && last[1] === minute.at) last[1] = minute.at + 60_000;
    else found.push([minute.at, minute.at + 60_000, kind]);
  }
  return found;
}

/** One strip: what is not known stays empty. Down is lower as well as of another colour. */
export function strip(width, now, found, label) {
  const area = canvas(width, 22 + BELOW, now, label);
  area.svg.append(draw("rect", { x: LEFT, y: 4, width: area.right - LEFT, height: 16, class: "unknown" }));
  for (const [from, to, kind] of found) {
    const x = area.x(Math.max(from, area.from));
    const wide = Math.max(area.x(Math.min(to, now)) - x, kind === "up" ? 0.5 : 2);
    const [y, height] = kind === "up" ? [4, 16] : [9, 11];
    area.svg.append(draw("rect", { x, y, width: wide, height, class: kind }));
  }
  hours(area, false);
  return area.svg;
}

/** A round number that is not below `value` and has a half: counts have no fractions. */
function roof(value) {
  const size = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [2, 4, 6, 10].map((factor) => factor * size).find((round) => round >= value) ?? value;
}

/** Stacked bars: `slots` of `{ from, to, parts: [[class, count], ...] }`. */
export function bars(width, now, slots, label) {
  const area = canvas(width, 120, now, label);
  const sum = (slot) => slot.parts.reduce((total, [, count]) => total + count, 0);
  const top = roof(Math.max(4, ...slots.map(sum)));
  const y = (value) => area.bottom - (value / top) * (area.bottom - ABOVE);
  scale(area, [[y(0), "0"], [y(top / 2), String(top / 2)], [y(top), String(top)]]);
  hours(area, true);
  for (const slot of slots) {
    const x = area.x(Math.max(slot.from, area.from));
    const wide = Math.max(area.x(Math.min(slot.to, now)) - x - 1, 1);
    let base = 0;
    for (const [kind, count] of slot.parts) {
      if (count === 0) continue;
      const [low, high] = [y(base), y(base + count)];
      area.svg.append(draw("rect", { x, y: high, width: wide, height: Math.max(low - high, 1.5), class: kind }));
      base += count;
    }
  }
  return area.svg;
}

const DECADES = [[10, "10 ms"], [100, "0.1 s"], [1_000, "1 s"], [10_000, "10 s"], [60_000, "1 min"], [3_600_000, "1 h"]];

/** From the middle to nearly the slowest, on a scale of powers: `slots` of `{ from, to, low, high }` in ms. */
export function ranges(width, now, slots, label) {
  const area = canvas(width, 120, now, label);
  const slowest = Math.max(1_000, ...slots.map((slot) => slot.high));
  const top = DECADES.find(([ms]) => ms >= slowest)?.[0] ?? 36_000_000;
  const [least, most] = [Math.log10(5), Math.log10(top)];
  const y = (ms) => area.bottom - ((Math.log10(Math.max(ms, 5)) - least) / (most - least)) * (area.bottom - ABOVE);
  scale(area, DECADES.filter(([ms]) => ms <= top).map(([ms, text]) => [y(ms), text]));
  hours(area, true);
  for (const slot of slots) {
    const x = area.x(Math.max(slot.from, area.from));
    const wide = Math.max(area.x(Math.min(slot.to, now)) - x - 1, 2);
    const [low, high] = [y(slot.low), y(slot.high)];
    area.svg.append(draw("rect", { x, y: high, width: wide, height: Math.max(low - high, 1), class: "range" }));
    area.svg.append(draw("rect", { x, y: low - 1.5, width: wide, height: 3, class: "middle" }));
  }
  return area.svg;
}

/** Steps over the minutes, with gaps where nothing is known: `minutes` of `{ at, value, mark }`; a mark is a second value. */
export function steps(width, now, minutes, label) {
  const area = canvas(width, 96, now, label);
  const top = roof(Math.max(4, ...minutes.map((minute) => Math.max(minute.value, minute.mark))));
  const y = (value) => area.bottom - (value / top) * (area.bottom - ABOVE);
  scale(area, [[y(0), "0"], [y(top / 2), String(top / 2)], [y(top), String(top)]]);
  hours(area, true);
  for (const [name, of] of [["waiting", (minute) => minute.value], ["doubtful", (minute) => minute.mark]]) {
    for (const [from, to, value] of runs(minutes, (minute) => (of(minute) > 0 ? of(minute) : null))) {
      const x = area.x(Math.max(from, area.from));
      const wide = Math.max(area.x(Math.min(to, now)) - x, 1.5);
      const high = y(value);
      area.svg.append(draw("rect", { x, y: high, width: wide, height: Math.max(area.bottom - high, 1.5), class: name }));
    }
  }
  return area.svg;
}
