/** Loading the student's pages: when each is asked for, and asked for again. */

import { Problem, page, pageWithProgress, signOut } from "./api.js";

export const NAMES = ["attendance", "all-attendance", "timetable", "quiz"];

const RENEWED_RETRY_SECONDS = 3; // the gathering behind an answer takes two round trips
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
  const notBefore = new Map(); // ms, by page: the end of the wait that the service has told
  const renewed = new Set(); // pages whose refresh the student still waits for
  let returns = 0; // of the network, or of the student to the page

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
    [timers, retries, notBefore, renewed].forEach((kept) => kept.clear());
    signOut();
    store.set({
      signedIn: false, notice, answers: {}, problems: {}, loading: [], progress: null,
      saving: false, day: null, plans: new Map(),
    });
  }

  /**
   * What `ask` gives of a page, whose problem ends with it; null when it fails, which is
   * noted as the page's problem, and when it comes after the end of the login. `retried`:
   * asked for again by itself.
   */
  async function attempt(name, ask, { retried = false } = {}) {
    const mine = session;
    try {
      const answer = await ask();
      if (mine !== session) return null;
      if (store.get().problems[name]) put("problems", name, null);
      return answer;
    } catch (fault) {
      const problem = fault instanceof Problem ? fault : new Problem("foreign");
      if (mine === session) fail(name, problem, retried);
      return null;
    }
  }

  function fail(name, problem, retried) {
    if (problem.code === "unauthorized") return end(problem);
    const { retryAfter, at } = problem;
    if (retryAfter !== null) {
      notBefore.set(name, at + 1000 * retryAfter);
      clearTimeout(timers.get(name));
    }
    problem.again = retried && retryAfter !== null && again(name, retryAfter);
    put("problems", name, problem);
  }

  async function load(name, { fresh = false } = {}) {
    if (store.get().loading.includes(name)) return;
    clearTimeout(timers.get(name));
    setLoading(name, true);
    if (fresh) renewed.add(name);
    const options = { fresh: renewed.has(name) };
    const mine = session;
    const before = returns;
    const progressed = (progress) => mine === session && store.set({ progress });
    const ask = () =>
      name === "all-attendance"
        ? pageWithProgress(name, progressed, options)
        : page(name, options);
    const answer = await attempt(name, ask, { retried: true });
    if (mine !== session) return;
    setLoading(name, false);
    if (name === "all-attendance") store.set({ progress: null });
    if (answer === null) {
      // What was under way before a return has often lost its connection.
      if (returns !== before && store.get().problems[name].code === "offline") load(name);
      return;
    }
    renewed.delete(name);
    // What the service does not keep is mostly still gathered, and the next request joins that.
    // If it comes so twice, there was no room for its calls: to ask every few seconds is no use.
    const isGathered = answer.unkept && !store.get().answers[name]?.unkept;
    put("answers", name, { ...answer, at: Date.now() });
    if (answer.cache === "STALE") again(name, RENEWED_RETRY_SECONDS);
    else if (answer.data.incomplete?.length)
      again(name, isGathered ? RENEWED_RETRY_SECONDS : INCOMPLETE_RETRY_SECONDS);
    else retries.delete(name);
  }

  function loadAll(options) {
    retries.clear();
    NAMES.forEach((name) => load(name, options));
  }

  /** Load what the student did not ask for: nothing before the end of its told wait. */
  function loadUnasked(names) {
    const now = Date.now();
    names.filter((name) => !(notBefore.get(name) > now)).forEach((name) => load(name));
  }

  function comeBack() {
    returns += 1;
    loadUnasked(Object.keys(store.get().problems));
  }

  window.addEventListener("online", comeBack);

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    comeBack(); // the network may be back without an event
    const now = Date.now(); // earlier than `at` where the device's clock was set back
    const isOld = ({ at }) => at < now - 1000 * OLD_SECONDS || at > now;
    if (!Object.values(store.get().answers).some(isOld)) return;
    retries.clear();
    loadUnasked(NAMES);
  });

  return { attempt, loadAll, end };
}
