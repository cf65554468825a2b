/** What the page says: failures, freshness, advice, dates and numbers as words. */

const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", timeZone: "UTC" });
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", timeZone: "UTC" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });

const asDate = (iso) => new Date(`${iso}T00:00:00Z`);

/** "2026-09-07" as "7 September". */
export const dayWords = (iso) => DATE.format(asDate(iso));

/** "2026-09-07" as "Monday". */
export const weekdayWords = (iso) => WEEKDAY.format(asDate(iso));

/** "2026-09" as "September 2026". */
export const monthWords = (month) => MONTH.format(asDate(`${month}-01`));

/** "1 class", "3 classes". */
export const classes = (n) => `${n} ${n === 1 ? "class" : "classes"}`;

/** A number of seconds as "5 s", "3 min", "2 h". */
function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** The target, which may not be known yet. */
export const targetWords = (target) => (target === null ? "the target" : `${target}%`);

/** What a subject allows or asks for. */
export function advice({ canMiss, mustAttend, total }, target) {
  const goal = targetWords(target);
  if (total === 0 || (canMiss === null && mustAttend === null)) return "No class counted yet";
  if (mustAttend === null) return `You can no longer reach ${goal}`;
  if (mustAttend === 1) return `Attend the next class to reach ${goal}`;
  if (mustAttend > 1) return `Attend the next ${mustAttend} classes to reach ${goal}`;
  if (canMiss === 0) return `Miss none: one more would take you below ${goal}`;
  return `You can miss ${classes(canMiss)} and stay at ${goal}`;
}

const PROBLEMS = {
  offline: "You seem to be offline, or the service cannot be reached.",
  foreign: "Something else answered in place of the service. Does this network ask for a login?",
  unstored: "This browser lets the page store nothing, not even a login. Please allow it to.",
  rate_limited: "There were too many requests in a short time.",
  overloaded: "Very many students are asking right now.",
  upstream_error: "The college's platform does not work properly right now.",
};

/** A failure in words. */
export const problemWords = ({ code, message }) =>
  PROBLEMS[code] ?? (message || "The service cannot answer right now.");

/** How many seconds are left of the wait that a failure asks for; 0 without one. */
export const secondsLeft = ({ at, retryAfter }) =>
  Math.max(0, Math.ceil(retryAfter - (Date.now() - at) / 1000));

/** The wait that a failure asks for, in words. */
export function waitWords(problem) {
  const left = secondsLeft(problem);
  if (left === 0) return "";
  return `${problem.again ? "Trying again" : "Please try again"} in ${duration(left)}.`;
}

/** How old an answer is, and whether there could be a newer one. */
export function freshnessWords({ cache, age }, secondsSince) {
  const old = age + secondsSince;
  const updated = old < 10 ? "Updated just now." : `Updated ${duration(old)} ago.`;
  return cache === "STALE" ? `${updated} The college's platform has sent nothing newer yet.` : updated;
}
