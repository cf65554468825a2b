/** What the page says: failures, freshness, dates and numbers as sentences. */

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
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** What a subject allows or asks for. */
export function advice({ canMiss, mustAttend, total }, target) {
  if (total === 0 || (canMiss === null && mustAttend === null)) return "No class counted yet";
  if (mustAttend === null) return `${target} % cannot be reached any more`;
  if (mustAttend > 0) return `Attend the next ${mustAttend} to reach ${target} %`;
  return canMiss > 0 ? `You can miss ${classes(canMiss)}` : `Exactly at ${target} %: miss none`;
}

const PROBLEMS = {
  offline: "You seem to be offline, or the service cannot be reached.",
  unauthorized: "Your login has ended. Please log in again.",
  forbidden: "This record belongs to another student.",
  rate_limited: "That were many requests in a short time.",
  overloaded: "Very many students are asking at this moment.",
  upstream_error: "The college's platform answered with something that cannot be read.",
  upstream_unavailable: "The college's platform does not take requests at the moment.",
  upstream_timeout: "The college's platform is very slow at the moment.",
};

/** A failure in words, with the wait where there is one. */
export function problemWords(problem) {
  const sentence = PROBLEMS[problem.code] ?? (problem.message || "Something went wrong here.");
  return problem.retryAfter
    ? `${sentence} The page asks again in ${duration(problem.retryAfter)}.`
    : sentence;
}

/** How old an answer is and where it came from. */
export function freshnessWords({ cache, age, ms }, secondsSince) {
  const old = age + secondsSince;
  if (cache === "STALE") {
    return `From ${duration(old)} ago: the platform has not given a newer one yet.`;
  }
  if (cache === "HIT") return `From memory, ${duration(old)} old.`;
  const took = ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
  return old < 10 ? `Gathered just now, in ${took}.` : `Gathered ${duration(old)} ago.`;
}
