// The last commands, each with its story: what happened to it, step by step, and when.

import { ago, code, exact, kind, level, make, number, say, sign, span, state } from "./words.js";

const at = (id) => document.getElementById(id);
/** By command id: the story and its element. */
const shown = new Map();
/** As many as the daemon keeps. */
const MOST = 200;
let clock = Date.now;

const OPEN = new Set(["queued", "executing", "in_doubt"]);
const BAD = new Set(["failed", "rejected", "expired", "abandoned", "in_doubt"]);

const ENDS = {
  succeeded: "Done: the lock system confirmed it.",
  failed: "Failed, certainly without effect.",
  rejected: "Refused.",
  expired: "Expired before it could begin.",
  superseded: "Overtaken by a later revoke.",
  cancelled: "Cancelled before it began.",
  abandoned: "Given up; what it may have left was made worthless.",
  in_doubt: "No answer that proves anything: in doubt.",
  acknowledged: "The cloud has the report.",
};

function words(step, story, settled) {
  switch (step.what) {
    case "received":
      return story.on_site ? "Given at the site, checked." : "Received from the cloud, signature and policy checked.";
    case "sent":
      return `Begins at ${step.device || story.lock_system}${step.attempt > 1 ? `, attempt ${number(step.attempt)}` : ""}.`;
    case "requeued":
      return "Put back, to be tried again.";
    default:
      return settled ? `Doubt settled: ${state(step.what)}.` : ENDS[step.what] ?? code(step.what);
  }
}

/** What durability set free, if it was this process that waited for it. */
function consequence(step, story) {
  if (!step.durable_ms || step.what === "acknowledged") return "";
  const disk = `on disk after ${span(Math.max(0, step.durable_ms - step.at_ms))}`;
  if (step.what === "received") return story.on_site ? disk : `${disk}, then acknowledged to the cloud`;
  if (step.what === "sent") return `${disk}, then begun`;
  return step.what === "requeued" ? disk : `${disk}, then reported`;
}

function stepItem(step, previous, story, settled) {
  const after = previous ? `+${span(step.at_ms - previous.at_ms)}` : "";
  const details = [
    step.code ? `reason: ${code(step.code)}` : "",
    step.by ? `by ${code(step.by)}` : "",
    consequence(step, story),
  ].filter((text) => text !== "");
  return make("li", { "data-step": step.what, "data-level": level(step.what) },
    make("time", { datetime: new Date(step.at_ms).toISOString() }, exact(step.at_ms)),
    make("span", { class: "after" }, after),
    make("div", {}, make("p", {}, words(step, story, settled)),
      details.length > 0 ? make("p", { class: "muted" }, details.join(" · ")) : null));
}

function storyList(story) {
  let doubt = false;
  const items = [];
  story.steps.forEach((step, index) => {
    const settled = doubt && (step.what === "succeeded" || step.what === "failed" || step.what === "abandoned");
    doubt = step.what === "in_doubt" || (doubt && !settled);
    if (story.left_out > 0 && index === 3) {
      items.push(make("li", { class: "muted" }, `${number(story.left_out)} more steps are not kept.`));
    }
    items.push(stepItem(step, story.steps[index - 1], story, settled));
  });
  return make("ol", { class: "story" }, ...items);
}

/** How long it took, or has taken. */
function took(story, now) {
  const end = story.steps.findLast((step) => step.what !== "acknowledged");
  return OPEN.has(story.state) ? span(Math.max(0, now - story.received_ms)) : span(Math.max(0, (end?.at_ms ?? 0) - story.received_ms));
}

function head(story, now) {
  const reason = story.steps.findLast((step) => step.code)?.code;
  return [
    make("span", { class: "sign" }, sign(level(story.state))),
    make("span", { class: "what" }, kind(story.kind),
      make("span", { class: "muted" }, ` at ${story.lock_system}${story.on_site ? ", given here" : ""}`)),
    make("span", { class: "state" }, state(story.state),
      reason && BAD.has(story.state) ? make("span", { class: "muted" }, `: ${code(reason)}`) : null),
    make("span", { class: "took" }, took(story, now)),
    make("span", { class: "ago" }, ago(story.received_ms, now)),
  ];
}

function place(story, now) {
  let entry = shown.get(story.command_id);
  if (!entry) {
    const summary = make("summary", {});
    const inside = make("div", { class: "inside" });
    const details = make("details", {}, summary, inside);
    const item = make("li", { "data-command": story.command_id }, details);
    entry = { story, item, summary, inside, details };
    shown.set(story.command_id, entry);
    details.addEventListener("toggle", () => tell(entry));
  }
  entry.story = story;
  entry.item.dataset.level = level(story.state);
  entry.item.dataset.state = story.state;
  entry.summary.replaceChildren(...head(story, now));
  tell(entry);
}

/** The story itself is made only while it is open. */
function tell(entry) {
  if (!entry.details.open) return;
  entry.inside.replaceChildren(
    make("p", { class: "muted" }, "Command ", make("code", {}, entry.story.command_id)),
    storyList(entry.story));
}

function fits(story, filter) {
  return filter === "all" || (filter === "open" ? OPEN : BAD).has(story.state);
}

function arrange() {
  const filter = at("filter").value;
  const ordered = [...shown.values()].sort((one, other) => other.story.received_ms - one.story.received_ms);
  for (const dropped of ordered.splice(MOST)) {
    shown.delete(dropped.story.command_id);
    dropped.item.remove();
  }
  const wanted = ordered.filter((entry) => fits(entry.story, filter)).map((entry) => entry.item);
  const list = at("commands");
  const same = wanted.length === list.children.length && wanted.every((item, index) => list.children[index] === item);
  if (!same) {
    const focus = document.activeElement;
    list.replaceChildren(...wanted);
    if (list.contains(focus)) focus.focus();
  }
  say(at("commands-note"), shown.size === 0 ? "No command came in the last day."
    : wanted.length === 0 ? "None of the last commands is like that." : "");
}

export function showCommands(stories, now) {
  for (const story of stories) place(story, now);
  if (stories.length > 0 || shown.size === 0) arrange();
  for (const entry of shown.values()) {
    say(entry.summary.querySelector(".ago"), ago(entry.story.received_ms, now));
    if (OPEN.has(entry.story.state)) say(entry.summary.querySelector(".took"), took(entry.story, now));
  }
}

export function forgetCommands() {
  shown.clear();
  at("commands").replaceChildren();
}

export function setUpCommands(now) {
  clock = now;
  at("filter").addEventListener("change", () => {
    arrange();
    showCommands([], clock());
  });
}
