// Asks the daemon every two seconds and hands the answers to the parts of the page; says so when no answer comes.

import { showCommands, forgetCommands, setUpCommands } from "./commands.js";
import { showDay, setUpDay } from "./day.js";
import { showLost, showNow, showWaiting } from "./now.js";
import { ago, moment, say, since, span } from "./words.js";

const PACE_MS = 2_000;
const SLOWEST_MS = 30_000;
/** The daemon gives up on an answer after 4 s. */
const PATIENCE_MS = 5_000;
const DAY_PACE_MS = 20_000;

const at = (id) => document.getElementById(id);
const known = { status: null, version: 0, dayAsked: 0, answered: 0, failures: 0, lostSince: 0 };
/** What the browser's clock must be corrected by to be the daemon's. */
let skew = 0;
let timer = 0;

export const now = () => Date.now() + skew;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** What must be drawn anew in the pictures at once. */
const hopsOf = (status) => JSON.stringify([status.cloud.connected, status.lock_systems.map((it) => it.reachable)]);

async function look() {
  const status = await ask("/status");
  skew = status.now_ms - Date.now();
  const before = known.status;
  const restarted = before !== null && before.bridge.started_ms !== status.bridge.started_ms;
  if (restarted) {
    known.version = 0;
    forgetCommands();
  }
  known.status = status;
  showNow(status, now());
  const engine = status.engine;
  const waits = engine !== null && engine.queued + engine.executing + engine.in_doubt > 0;
  showWaiting(waits ? await ask("/waiting") : { queue: [], doubts: [] }, engine, now());
  const stories = await ask(`/commands?after=${known.version}`);
  known.version = stories.version;
  showCommands(stories.commands, now());
  const changed = before === null || restarted || hopsOf(before) !== hopsOf(status);
  if (changed || Date.now() - known.dayAsked >= DAY_PACE_MS) {
    known.dayAsked = Date.now();
    showDay(await ask("/history"), status.lock_systems.map((system) => system.name));
  }
}

function answered() {
  if (known.lostSince > 0) {
    say(at("announce"), `The daemon answers again after ${span(Date.now() - known.lostSince)}.`);
  }
  Object.assign(known, { answered: Date.now(), failures: 0, lostSince: 0 });
  document.body.classList.remove("stale");
  at("lost").hidden = true;
}

function unanswered() {
  known.failures += 1;
  // One miss may be a restart of the service or a full table of connections; two are news.
  if (known.failures < 2) return;
  if (known.lostSince === 0) known.lostSince = known.answered || Date.now();
  document.body.classList.add("stale");
  document.title = "No answer – Lockbridge";
  if (known.status !== null) showLost();
  const old = known.status === null ? "" : ` Below is what it said ${moment(known.answered + skew, now())}; it is old.`;
  say(at("lost"), `The daemon does not answer any more.${old} On its machine, look at "systemctl status lockbridge" `
    + `and "journalctl -u lockbridge". This page goes on asking.`);
  at("lost").hidden = false;
}

function showPulse() {
  const lost = known.failures >= 2;
  at("live").dataset.level = lost ? "stop" : known.answered > 0 ? "ok" : "unknown";
  if (lost) say(at("live-text"), `No answer ${since(known.lostSince, Date.now())}`);
  else if (known.answered > 0) say(at("live-text"), `Live, told ${ago(known.answered, Date.now())}`);
}

async function beat() {
  clearTimeout(timer);
  try {
    await look();
    answered();
  } catch (problem) {
    unanswered();
  }
  showPulse();
  const slow = PACE_MS * 2 ** Math.min(known.failures, 4);
  timer = setTimeout(beat, Math.min(document.hidden ? SLOWEST_MS : slow, SLOWEST_MS));
}

// Who comes back to the page wants to see what is true now.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) beat();
});
setInterval(showPulse, 1_000);
setUpDay();
setUpCommands(now);
beat();
