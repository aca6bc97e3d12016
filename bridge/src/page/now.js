// How it is now: the headline, the hops with what to do next, the figures, what waits and what is in doubt.

import { bytes, code, day, kind, make, number, prose, say, sign, since, span, state } from "./words.js";

const at = (id) => document.getElementById(id);

const HEADLINES = {
  ready: ["ok", "Everything works"],
  degraded: ["look", "It works, something needs a look"],
  unready: ["stop", "It cannot serve a lock system now"],
};

/** A doubt is shown at once; it becomes a reason of its own when nobody has settled it for a while. */
const DOUBTFUL = ["doubt", "It works, something is in doubt"];

/** Reasons with which work stops although a lock system answers. */
const STOPPING = new Set(["identity", "disk", "draining", "quarantine", "policy", "not_enrolled", "clock_untrusted",
  "lock_server", "lock_login", "lock_protocol"]);

/** One line for guests and staff. */
function meaning(status) {
  const holds = (hop) => status.reasons.some((reason) => reason.hop === hop);
  const servers = status.lock_systems.filter((system) => system.reachable === false);
  if (status.reasons.some((reason) => reason.code === "not_enrolled")) return "This bridge waits for its token.";
  if (status.engine === null) return "The daemon runs, but its engine does not answer.";
  if (servers.length > 0 && servers.length === status.lock_systems.length) {
    return "Cards that exist open doors as before. No card can be written, and changes wait here until the lock server is back.";
  }
  if (status.engine.in_doubt > 0) return "It is not known whether a card was written. Somebody has to look and say what came of it.";
  if (holds("identity") || holds("work") || holds("clock")) {
    return "Revokes go on. Some other work is held back until somebody acts; see below.";
  }
  if (!status.cloud.connected) {
    return "What was accepted is carried out and staff can write known cards here. Anything new from the cloud waits there.";
  }
  return status.state === "ready" ? "Commands from the cloud are carried out as they come." : "";
}

/** The worst of some reasons; `calm` when there are none. */
function worst(reasons, calm) {
  if (reasons.some((reason) => STOPPING.has(reason.code))) return "stop";
  if (reasons.some((reason) => reason.code === "doubt")) return "doubt";
  return reasons.length > 0 ? "look" : calm;
}

function hopsOf(status, now) {
  const of = (...hops) => status.reasons.filter((reason) => hops.includes(reason.hop));
  const { cloud, engine, storage } = status;
  const way = of("internet", "proxy", "tls");
  const hub = of("cloud");
  const offline = cloud.since_ms > 0 ? `Offline ${since(cloud.since_ms, now)}.` : "Not connected yet.";
  const next = cloud.next_try_ms > now ? ` Next try in ${span(cloud.next_try_ms - now)}.` : "";
  const hops = [
    {
      name: "Internet", reasons: way, level: worst(way, cloud.connected || hub.length > 0 ? "ok" : "unknown"),
      text: way.length > 0 ? "" : cloud.connected ? `The way to ${cloud.hub} is open.` : `Nothing is known against it.`,
    },
    {
      name: "Cloud", reasons: hub, level: cloud.connected ? worst(hub, "ok") : "look",
      text: cloud.connected ? `Connected to ${cloud.hub} ${since(cloud.since_ms, now)}.` : offline + next,
    },
    {
      name: "Identity and clock", reasons: of("identity", "clock"), level: worst(of("identity", "clock"), "ok"),
      text: status.certificate_not_after === 0 ? ""
        : `The certificate is good until ${day(status.certificate_not_after * 1000)} and renews itself.`,
    },
  ];
  for (const system of status.lock_systems) {
    const reasons = status.reasons.filter((reason) => reason.scope === `lock_system:${system.name}`);
    const [calm, text] = system.reachable === null ? ["unknown", "Has not answered yet."]
      : system.reachable ? ["ok", "Answers and accepts us."] : ["stop", "Not reachable."];
    hops.push({ name: `Lock system ${system.name}`, reasons, level: worst(reasons, calm), text });
  }
  const encoders = of("encoder");
  hops.push({
    name: "Encoders", reasons: encoders, level: worst(encoders, "ok"),
    text: encoders.length > 0 ? "" : "None has told of a fault.",
  });
  const disk = of("disk");
  hops.push({
    name: "Disk", reasons: disk, level: worst(disk, "ok"), text: storage.disk_free_bytes === 0 && engine === null ? "Not looked at yet." : `${bytes(storage.disk_free_bytes)} are free.`,
  });
  const doubts = of("doubt");
  const open = engine?.in_doubt ?? 0;
  hops.push({
    name: "Doubt", reasons: doubts, level: worst(doubts, engine === null ? "unknown" : open > 0 ? "doubt" : "ok"),
    text: engine === null ? "Not known." : open > 0 ? `${number(open)} open: what to look at stands under "Work now".` : "No open doubt.",
  });
  const held = of("work");
  if (held.length > 0) hops.push({ name: "Held back", reasons: held, level: worst(held, "ok"), text: "" });
  return hops;
}

const WORDS = { ok: "well", look: "needs a look", stop: "stopped", doubt: "in doubt", unknown: "not known" };

function reasonBox(reason, now) {
  return make("div", { class: "reason", "data-code": reason.code },
    make("p", { class: "sentence" }, ...prose(reason.sentence)),
    make("p", { class: "case" }, reason.message),
    make("p", {}, make("code", {}, reason.code), ", ", make("span", { class: "lasts" }, since(reason.since_ms, now))),
    make("p", { class: "remedy" }, make("strong", {}, "What to do: "), ...prose(reason.remedy)));
}

/** Drawn once a state: while only seconds pass, nothing a reader has under the finger is replaced. */
function hopItem(hop, now) {
  return make("li", { "data-level": hop.level, "data-hop": hop.name },
    make("span", { class: "sign" }, sign(hop.level)),
    make("div", {},
      make("h3", {}, hop.name, make("span", { class: "visually-hidden" }, `: ${WORDS[hop.level]}`)),
      hop.text === "" ? null : make("p", { class: "hop-text" }, hop.text),
      ...hop.reasons.map((reason) => reasonBox(reason, now))));
}

let announced = "";
let drawn = "";

function announce(headline, hops) {
  const wrong = hops.filter((hop) => hop.level !== "ok" && hop.level !== "unknown");
  const text = [headline, ...wrong.map((hop) => `${hop.name}: ${WORDS[hop.level]}`)].join(". ");
  // What is there when the page opens is read as content.
  if (announced !== "" && announced !== text) say(at("announce"), `${text}.`);
  announced = text;
}

/** What was said last proves nothing any more: the headline must not go on claiming it. */
export function showLost() {
  const box = at("headline");
  if (box.dataset.level === "unknown") return;
  const before = at("headline-text").textContent;
  box.dataset.level = "unknown";
  at("headline-sign").replaceChildren(sign("unknown"));
  say(at("headline-text"), "It is not known whether it works");
  say(at("headline-since"), "");
  say(at("headline-meaning"), `The last answer was: ${before}.`);
}

export function showNow(status, now) {
  const doubtful = status.state !== "unready" && (status.engine?.in_doubt ?? 0) > 0;
  const [level, headline] = doubtful ? DOUBTFUL : HEADLINES[status.state] ?? HEADLINES.unready;
  const box = at("headline");
  if (box.dataset.level !== level) {
    box.dataset.level = level;
    at("headline-sign").replaceChildren(sign(level));
  }
  say(at("headline-text"), headline);
  say(at("headline-since"), since(status.since_ms, now));
  say(at("headline-meaning"), meaning(status));
  say(at("workspace"), status.bridge.workspace_name);
  document.title = `${headline} – Lockbridge`;
  const { bridge } = status;
  say(at("about"), `Bridge ${bridge.bridge_id}, version ${bridge.version}, runs ${since(bridge.started_ms, now)}.`);

  const hops = hopsOf(status, now);
  announce(headline, hops);
  const shape = JSON.stringify(hops.map((hop) => [hop.name, hop.level, hop.reasons]));
  const list = at("hops");
  if (shape !== drawn) {
    drawn = shape;
    list.replaceChildren(...hops.map((hop) => hopItem(hop, now)));
  } else {
    hops.forEach((hop, index) => {
      const text = list.children[index]?.querySelector(".hop-text");
      if (text) say(text, hop.text);
      list.children[index]?.querySelectorAll(".lasts").forEach((span, place) => {
        say(span, since(hop.reasons[place].since_ms, now));
      });
    });
  }
}

function figure(name, value, note) {
  return make("div", { "data-figure": name }, make("dt", {}, name),
    make("dd", {}, make("span", { class: "big" }, value), note ? make("span", { class: "muted" }, note) : null));
}

const PRIORITIES = ["revoke", "a person waits", "grant", "background"];

const WAITS = {
  "": "its turn", lock_system: "the lock system", retry: "the next try", inventory: "the first inventory",
  quarantine: "the end of the quarantine", replay: "the end of the replay", disk_full: "space on the disk",
  clock: "a clock that can be trusted", state_key: "the state key", "policy:brake": "the brake to be released",
};

function queueTable(rows, total, now) {
  const cells = rows.map((row) => make("tr", {},
    make("td", {}, kind(row.kind)),
    make("td", {}, row.state === "queued" ? `waits for ${WAITS[row.waits_for] ?? code(row.waits_for)}` : state(row.state)),
    make("td", {}, PRIORITIES[row.priority] ?? ""),
    make("td", { class: "right" }, span(now - row.received_ms))));
  const more = total > rows.length ? `, the first ${rows.length} of ${number(total)}` : "";
  const head = ["What", "State", "Kind", "Age"].map((name, index) =>
    make("th", { scope: "col", class: index === 3 ? "right" : null }, name));
  return [
    make("h3", { id: "queue-title" }, `Next in line${more}`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "queue-title" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...cells))),
  ];
}

function doubtItem(doubt, now) {
  return make("li", { "data-level": "doubt" },
    make("p", { class: "sentence" }, `${kind(doubt.command.kind)} at ${doubt.device}, `,
      make("span", { class: "muted" }, since(doubt.since_ms, now))),
    make("p", {}, `What is known: ${doubt.evidence}.`),
    make("p", { class: "remedy" }, make("strong", {}, "What to do: "), `${doubt.advice} Then say it: `,
      make("code", {}, `lockbridge doubt resolve ${doubt.command.command_id} done|not-done|unsure`)));
}

/** Replaces what an element holds only when it would look different. */
function renew(element, key, children) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...children());
}

export function showWaiting(waiting, engine, now) {
  const figures = engine === null ? [] : [
    ["Waiting", number(engine.queued), ""],
    ["Under way", number(engine.executing), ""],
    ["In doubt", number(engine.in_doubt), ""],
    ["Reports to tell", number(engine.outbox), engine.outbox > 0 ? "until the cloud has them" : ""],
  ];
  renew(at("figures"), JSON.stringify(figures), () => figures.map((it) => figure(...it)));
  // Ages move in steps of ten seconds: a table that changes under the finger cannot be read.
  const pace = Math.floor(now / 10_000);
  const { doubts, queue } = waiting;
  renew(at("doubts"), JSON.stringify([doubts, doubts.length > 0 && pace]), () => doubts.length === 0 ? [] : [
    make("h3", {}, "Open doubts"),
    make("ul", { class: "doubts" }, ...doubts.map((doubt) => doubtItem(doubt, now))),
  ]);
  const total = engine === null ? 0 : engine.queued + engine.executing + engine.in_doubt;
  renew(at("queue"), JSON.stringify([queue, queue.length > 0 && pace]), () =>
    queue.length === 0 ? [make("p", { class: "muted" }, "Nothing waits.")] : queueTable(queue, total, now));
}
