/** The page: its state, its views, and what happens at a click. */

import {
  calendarFile, onOtherLogin, onSignedOut, signIn, signOutCopies, signedIn,
} from "./api.js";
import { h, render } from "./dom.js";
import { days, indiaNow, subjects } from "./figures.js";
import { frame } from "./frame.js";
import { createPages } from "./pages.js";
import { createStore } from "./store.js";
import { calendar } from "./views/calendar.js";
import { login } from "./views/login.js";
import { quizzes } from "./views/quizzes.js";
import { NO_PLAN, subjectList } from "./views/subjects.js";
import { timetable } from "./views/timetable.js";
import { today } from "./views/today.js";
import { secondsLeft } from "./words.js";

const VIEWS = {
  today: ["Today", today],
  subjects: ["Subjects", subjectList],
  calendar: ["Calendar", calendar],
  quizzes: ["Quizzes", quizzes],
  timetable: ["Timetable", timetable],
};
const TICK_MILLISECONDS = 1000;
const AGE_MILLISECONDS = 20_000; // of ages and "now"; the seconds of a wait are each shown

const viewOf = (hash) => (Object.hasOwn(VIEWS, hash.slice(1)) ? hash.slice(1) : "today");

const store = createStore({
  signedIn: signedIn(),
  signingIn: false,
  saving: false, // the calendar file is under way
  notice: null, // why a login is asked for, or what was wrong with it
  view: viewOf(location.hash),
  answers: {},
  problems: {},
  loading: [],
  progress: null,
  day: null, // chosen in the calendar
  plans: new Map(), // of what-if, by subject: {attend, miss}
});
const pages = createPages(store);

const actions = {
  async signIn(username, password) {
    if (store.get().signingIn) return;
    store.set({ signingIn: true, notice: null });
    try {
      await signIn(username, password);
      store.set({ signedIn: true });
      pages.loadAll();
    } catch (problem) {
      store.set({ notice: problem });
    } finally {
      store.set({ signingIn: false });
    }
  },
  signOut() {
    signOutCopies();
    pages.end(null);
  },
  refresh() {
    if (!store.get().loading.length) pages.loadAll({ fresh: true });
  },
  retry: () => pages.loadAll(),
  chooseDay(day) {
    store.set({ day });
    // On a phone its classes stand below all months.
    queueMicrotask(() => document.getElementById("day").scrollIntoView({ block: "nearest" }));
  },
  plan(subject, change) {
    const plans = new Map(store.get().plans);
    store.set({ plans: plans.set(subject, { ...(plans.get(subject) ?? NO_PLAN), ...change }) });
  },
  async saveCalendar() {
    if (store.get().saving) return;
    store.set({ saving: true });
    const file = await pages.attempt("timetable", calendarFile);
    store.set({ saving: false });
    if (file === null) return;
    const address = URL.createObjectURL(file);
    h("a", { href: address, download: "timetable.ics" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  },
};

/** The state together with what the views work out of it; each costs who asks for it. */
function model(state) {
  const data = (name) => state.answers[name]?.data ?? null;
  const summary = data("attendance");
  const page = data("all-attendance");
  return {
    ...state,
    summary,
    target: summary?.target ?? null, // only this page says what it is
    get subjects() {
      return subjects(summary, page);
    },
    get days() {
      return days(page);
    },
    quizzes: data("quiz"),
    timetable: data("timetable"),
    // The device's clock may be wrong: the service's counts, by its last answer.
    now: indiaNow(new Date(Date.now() + (Object.values(state.answers).at(-1)?.ahead || 0))),
  };
}

const app = document.getElementById("app");
let shown = null;

function show(state) {
  const focused = app.contains(document.activeElement);
  const showing = state.signedIn ? state.view : "login";
  const before = app.querySelector(".today");
  if (state.signedIn) {
    const now = model(state);
    const [title, view] = VIEWS[state.view];
    const titles = Object.fromEntries(Object.entries(VIEWS).map(([name, [t]]) => [name, t]));
    render(app, ...frame(now, actions, titles, view(now, actions)));
    document.title = `${title} · Attendance`;
  } else {
    render(app, login(state, actions));
    document.title = "Attendance";
  }
  const turned = shown !== null && shown !== showing; // a screen reader hears of the new view
  if (turned || (focused && !app.contains(document.activeElement))) {
    document.getElementById("main").focus({ preventScroll: true });
  }
  if (turned) window.scrollTo(0, 0);
  const today = app.querySelector(".today"); // in the timetable
  if (today !== before) today?.scrollIntoView();
  shown = showing;
}

store.subscribe(show);
window.addEventListener("hashchange", () => store.set({ view: viewOf(location.hash) }));
onSignedOut(() => pages.end(null));
onOtherLogin(() => location.reload());
let counted = ""; // of what is shown and changes by time alone
setInterval(() => {
  const before = counted;
  const { problems, notice } = store.get();
  const waits = [...Object.values(problems), notice].map((p) => p && secondsLeft(p));
  // No count of ticks: a device may sleep.
  counted = [Math.floor(Date.now() / AGE_MILLISECONDS), ...waits].join();
  if (counted !== before) store.set({});
}, TICK_MILLISECONDS);
show(store.get());
if (store.get().signedIn) pages.loadAll();
if ("demo" in document.documentElement.dataset) {
  const { demoCorner } = await import("./demo.js");
  demoCorner(store, actions);
}
