/** Arithmetic over the API's figures: what-if, and the days of all subjects together. */

/** The most classes that can be missed while present/total stays at the target. */
export function canMiss(present, total, target) {
  if (total === 0) return null;
  return Math.max(0, Math.floor((100 * present - target * total) / target));
}

/** The least number of classes to attend to reach the target; null if none will do. */
export function mustAttend(present, total, target) {
  if (total === 0) return null;
  const lacking = target * total - 100 * present;
  if (lacking <= 0) return 0;
  return target === 100 ? null : Math.ceil(lacking / (100 - target));
}

/** Percent as a number with two decimals at most; 0 of 0 is 0. */
export function percent(present, total) {
  return total === 0 ? 0 : Math.round((10000 * present) / total) / 100;
}

/**
 * "good" at or above the target, "near" less than five points below it, else "low"; "" of 0
 * classes, and while the target is not known.
 */
export function standing(present, total, target) {
  if (total === 0 || target === null) return "";
  if (100 * present >= target * total) return "good";
  return 100 * present >= (target - 5) * total ? "near" : "low";
}

/**
 * The subjects of the two pages as one list, in the platform's order. Until the days have
 * come (`page` is null) a subject has none. Counts that the summary could not read are those
 * of the days.
 * @returns {{name, code, present, total, percent, canMiss, mustAttend, enteredUntil,
 *            faculty, incomplete}[]}
 */
export function subjects(summary, page) {
  const unread = new Set(summary?.incomplete ?? []);
  const missing = new Set([...unread, ...(page?.incomplete ?? [])]);
  const rows = new Map((summary?.dailyAttendance ?? []).map((row) => [row.course, row]));
  const records = new Map(Object.entries(page?.subjects ?? {}));
  const names = new Set([...rows.keys(), ...records.keys()]);
  return [...names].map((name) => {
    const row = rows.get(name);
    const days = records.get(name);
    const isRead = row && !(days && unread.has(name));
    const counts = isRead ? row : { ...days, present: days.totalPresent };
    const { courseCode: code, present, total, percent, canMiss, mustAttend } = counts;
    return {
      name, code, present, total, percent, canMiss, mustAttend,
      enteredUntil: days?.enteredUntil ?? null,
      faculty: days?.daily.at(-1)?.details.at(-1)?.faculty ?? null,
      incomplete: missing.has(name),
    };
  });
}

/**
 * All subjects' days by date, ascending:
 * `{date, present, absent, leave, other, classes: [{time, status, subject, cfId, faculty}]}`.
 */
export function days(page) {
  const byDate = new Map();
  for (const [subject, { cfId, daily }] of Object.entries(page?.subjects ?? {})) {
    for (const day of daily) {
      const all = byDate.get(day.date) ?? {
        date: day.date, present: 0, absent: 0, leave: 0, other: 0, classes: [],
      };
      all.present += day.present;
      all.absent += day.absent;
      all.leave += day.leave;
      all.other += day.details.length - day.present - day.absent - day.leave;
      for (const { status, faculty, ...told } of day.details) {
        all.classes.push({ time: beginOf(told), status, subject, cfId, faculty });
      }
      byDate.set(day.date, all);
    }
  }
  for (const day of byDate.values()) day.classes.sort((a, b) => (a.time < b.time ? -1 : 1));
  return [...byDate.values()].sort((a, b) => (a.date < b.date ? -1 : 1));
}

const ABROAD = /(\dZ|\d[+-](?!05:?30)\d\d:?\d\d|UTC|GMT)$/i; // a zone that is not India's

/** When a class began, as "14:00"; "" where no time is told: midnight is a date without. */
function beginOf({ formatted, time }) {
  const told = [clock(formatted), ABROAD.test(time) ? "" : clock(time)];
  return told.find((begin) => begin > "00:00") ?? "";
}

const TIME = /(\d{1,2})(?::(\d{2})(?::\d{2})?(?:\s*([AP])\.?M)?|(?:\.(\d{2}))?\s*([AP])\.?M(?![A-Z]))/gi;

/** "02:00PM - 02:50PM 07/Sep/2026", "2:00 - 2:50PM" or "2026-09-07 14:00:00" as "14:00". */
function clock(text) {
  const [begin, end] = [...text.matchAll(TIME)].map(([, hour, minute, half, dotted, marked]) => {
    const part = (half ?? marked)?.toUpperCase();
    const hours = part ? (hour % 12) + (part === "P" ? 12 : 0) : Number(hour);
    return { part, minutes: 60 * hours + Number(minute ?? dotted ?? 0) };
  });
  if (!begin) return "";
  const later = begin.minutes + 12 * 60;
  const isLater = !begin.part && end?.part && later <= end.minutes;
  const minutes = isLater ? later : begin.minutes;
  return [Math.floor(minutes / 60), minutes % 60].map((n) => String(n).padStart(2, "0")).join(":");
}

const KINDS = new Map([
  ["present", "present"], ["p", "present"], ["absent", "absent"], ["a", "absent"], ["l", "leave"],
]);

/** What a mark counts as, as the service counts it; for its colour. */
export function markKind(status) {
  const words = status.normalize("NFKC").replace(/\p{Cf}/gu, "").trim().toLowerCase();
  return words.endsWith("leave") ? "leave" : (KINDS.get(words) ?? "other");
}

/** The college's date and time of day, wherever this browser is: ["2026-09-07", "14:05"]. */
export function indiaNow(now) {
  const text = new Intl.DateTimeFormat("sv-SE", {
    timeZone: "Asia/Kolkata", dateStyle: "short", timeStyle: "short",
  }).format(now);
  return text.split(" ");
}
