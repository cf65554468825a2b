/** Loading the student's pages: when each is asked for, and asked for again. */

import { Problem, page, pageWithProgress, signOut } from "./api.js";

export const NAMES = ["attendance", "all-attendance", "timetable", "quiz"];

const STALE_RETRY_SECONDS = 3; // the refresh behind a stale answer takes two round trips
const INCOMPLETE_RETRY_SECONDS = 16; // the service keeps an incomplete page for 15 s
const LONGEST_WAIT_SECONDS = 600; // what is told to wait longer, the student asks for again
const OLD_SECONDS = 300; // when somebody comes back to the page; the service's usual TTL
const MOST_RETRIES = 5; // in a row, for each page; then the student decides

/**
 * What loads pages into `store`: `answers` and `problems` by page, `loading` as a list of
 * names, and `progress` of the gathering. A problem's `again` tells whether it is asked for
 * again without the student.
 */
export function createPages(store) {
  let session = 0; // an answer to an earlier login is not shown to the next one
  const timers = new Map();
  const retries = new Map();

  function put(field, name, value) {
    const { [name]: _, ...others } = store.get()[field];
    store.set({ [field]: value === null ? others : { ...others, [name]: value } });
  }

  function setLoading(name, is) {
    const others = store.get().loading.filter((other) => other !== name);
    store.set({ loading: is ? [...others, name] : others });
  }

  /** Have a page asked for again; whether that will be. */
  function again(name, seconds) {
    const made = retries.get(name) ?? 0;
    if (made >= MOST_RETRIES || seconds > LONGEST_WAIT_SECONDS) return false;
    retries.set(name, made + 1);
    clearTimeout(timers.get(name));
    timers.set(name, setTimeout(load, 1000 * seconds, name));
    return true;
  }

  function end(notice) {
    session += 1;
    timers.forEach(clearTimeout);
    timers.clear();
    retries.clear();
    signOut();
    store.set({
      signedIn: false, notice, answers: {}, problems: {}, loading: [], progress: null,
      day: null, plans: new Map(),
    });
  }

  async function load(name, { fresh = false } = {}) {
    const mine = session;
    const current = () => mine === session;
    if (store.get().loading.includes(name)) return;
    setLoading(name, true);
    try {
      const answer =
        name === "all-attendance"
          ? await pageWithProgress(
              name, (progress) => current() && store.set({ progress }), { fresh },
            )
          : await page(name, { fresh });
      if (!current()) return;
      put("answers", name, { ...answer, at: Date.now() });
      put("problems", name, null);
      if (answer.cache === "STALE") again(name, STALE_RETRY_SECONDS);
      else if (answer.data.incomplete?.length) again(name, INCOMPLETE_RETRY_SECONDS);
      else retries.delete(name);
    } catch (fault) {
      if (!current()) return;
      const problem = fault instanceof Problem ? fault : new Problem("foreign");
      if (problem.code === "unauthorized") return end(problem);
      problem.again = problem.retryAfter !== null && again(name, problem.retryAfter);
      put("problems", name, problem);
    } finally {
      if (current()) {
        setLoading(name, false);
        if (name === "all-attendance") store.set({ progress: null });
      }
    }
  }

  function loadAll(options) {
    retries.clear();
    return Promise.all(NAMES.map((name) => load(name, options)));
  }

  window.addEventListener("online", () => {
    if (store.get().signedIn) Object.keys(store.get().problems).forEach((name) => load(name));
  });

  document.addEventListener("visibilitychange", () => {
    const now = Date.now();
    const old = Object.values(store.get().answers).some((a) => now - a.at > 1000 * OLD_SECONDS);
    if (old && document.visibilityState === "visible") loadAll();
  });

  return { loadAll, end };
}
