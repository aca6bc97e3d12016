// Words and times: what codes are called, and how moments and spans are told.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const exactClock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const shortClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

export const number = (value) => whole.format(value);
export const hour = (ms) => shortClock.format(new Date(ms));
export const day = (ms) => date.format(new Date(ms));

/** With milliseconds: steps of a story lie close together. */
export const exact = (ms) => exactClock.format(new Date(ms));

/** A moment in the browser's zone: the clock if it is of today, the day with it otherwise. */
export function moment(ms, now) {
  const same = new Date(ms).toDateString() === new Date(now).toDateString();
  return same ? clock.format(new Date(ms)) : dayAndClock.format(new Date(ms));
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A length of time in at most two units. */
export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${tenths.format(ms / 1000)} s`;
  let seconds = Math.round(ms / 1000);
  const parts = [];
  for (const [size, name] of UNITS) {
    const count = Math.floor(seconds / size);
    if (count > 0) parts.push(`${count} ${name}`);
    seconds -= count * size;
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return parts.join(" ");
}

/** How long ago, in the coarsest unit that says something. */
export function ago(ms, now) {
  const seconds = Math.round((now - ms) / 1000);
  if (seconds < 5) return "just now";
  const [size, name] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${name} ago`;
}

/** "since 14:02:11 (3 h 12 min)". */
export const since = (ms, now) => `since ${moment(ms, now)} (${span(Math.max(0, now - ms))})`;

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? tenths.format(value) : whole.format(value)} ${units[unit]}`;
}

const KINDS = {
  put_user: "Write a holder",
  suspend_user: "Suspend or readmit a holder",
  delete_user: "Remove a holder",
  set_group_membership: "Change access levels",
  put_grant: "Write a grant",
  delete_grant: "Take a grant away",
  put_credential: "Write a credential",
  delete_credential: "Take a credential away",
  assign_card: "Assign a card",
  encode_credential: "Write a card",
  scan_credential: "Read a card",
  scan_to_assign: "Read a card and assign it",
  unlock_entrance: "Open a door once",
  refresh_inventory: "Read the inventory",
  run_diagnostics: "Run diagnostics",
  cancel_command: "Cancel a command",
};

const STATES = {
  queued: "waits",
  executing: "under way",
  in_doubt: "in doubt",
  succeeded: "done",
  failed: "failed",
  rejected: "refused",
  expired: "expired",
  superseded: "overtaken",
  cancelled: "cancelled",
  abandoned: "given up",
};

const LEVELS = {
  queued: "calm", executing: "calm", in_doubt: "doubt", succeeded: "ok", failed: "stop", rejected: "stop",
  expired: "look", superseded: "calm", cancelled: "calm", abandoned: "look",
};

export const kind = (code) => KINDS[code] ?? code;
export const state = (code) => STATES[code] ?? code;
export const level = (code) => LEVELS[code] ?? "calm";
/** A code for people: `policy:grants_per_hour` reads well enough without its underscores. */
export const code = (text) => text.replaceAll("_", " ");

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** An element with attributes and children; text is always text, never markup. */
export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
/** The same of a picture. */
export const draw = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** A sentence of the daemon: what stands between backticks is to be typed. */
export const prose = (text) => text.split("`").map((part, index) => (index % 2 === 1 ? make("code", {}, part) : part));

/** Sets a text only when it differs, so that nothing selected or read aloud is disturbed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SIGNS = {
  ok: "M4.5 10.5l3.5 3.5 7.5-8",
  look: "M10 4.5v7M10 15v.6",
  stop: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  doubt: "M7 7.6a3 3 0 1 1 4.4 2.6c-.9.5-1.4 1-1.4 2M10 15v.6",
  unknown: "M5 10h10",
  calm: "M5 10h10",
};

/** The sign of a level: told apart by its form, not by colour alone. */
export const sign = (level) =>
  draw("svg", { viewBox: "0 0 20 20", class: "sign-form", "aria-hidden": "true", focusable: "false" },
    draw("path", { d: SIGNS[level] ?? SIGNS.unknown }));
