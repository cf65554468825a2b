/** The page: its state, its views, and what happens at a click. */

import { calendarFile, signIn, signedIn } from "./api.js";
import { h, render } from "./dom.js";
import { days, indiaNow, subjects } from "./figures.js";
import { frame } from "./frame.js";
import { createPages } from "./pages.js";
import { createStore } from "./store.js";
import { calendar } from "./views/calendar.js";
import { login } from "./views/login.js";
import { quizzes } from "./views/quizzes.js";
import { subjectList } from "./views/subjects.js";
import { timetable } from "./views/timetable.js";
import { today } from "./views/today.js";

const VIEWS = {
  today: ["Today", today],
  subjects: ["Subjects", subjectList],
  calendar: ["Calendar", calendar],
  quizzes: ["Quizzes", quizzes],
  timetable: ["Timetable", timetable],
};
const TICK_MILLISECONDS = 20_000; // ages and "now" of the timetable

const viewOf = (hash) => (hash.slice(1) in VIEWS ? hash.slice(1) : "today");

const store = createStore({
  signedIn: signedIn(),
  signingIn: false,
  notice: null, // why a login is asked for, or what was wrong with it
  view: viewOf(location.hash),
  answers: {},
  problems: {},
  loading: [],
  progress: null,
  day: null, // chosen in the calendar
});
const pages = createPages(store);

const actions = {
  async signIn(username, password) {
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
  signOut: () => pages.end(null),
  refresh: () => pages.loadAll({ fresh: true }),
  retry: () => pages.loadAll(),
  chooseDay: (day) => store.set({ day }),
  async saveCalendar() {
    try {
      const address = URL.createObjectURL(await calendarFile());
      h("a", { href: address, download: "timetable.ics" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    } catch (problem) {
      store.set({ problems: { ...store.get().problems, timetable: problem } });
    }
  },
};

/** The state together with what every view works out of it. */
function model(state) {
  const data = (name) => state.answers[name]?.data ?? null;
  const summary = data("attendance");
  const page = data("all-attendance");
  return {
    ...state,
    summary,
    target: summary?.target ?? 75,
    subjects: subjects(summary, page),
    days: days(page),
    quizzes: data("quiz"),
    timetable: data("timetable"),
    now: indiaNow(),
  };
}

const app = document.getElementById("app");
let shown = null;

function show(state) {
  if (!state.signedIn) {
    render(app, login(state, actions));
    document.title = "Attendance";
    shown = "login";
    return;
  }
  const now = model(state);
  const [title, view] = VIEWS[state.view];
  const titles = Object.fromEntries(Object.entries(VIEWS).map(([name, [t]]) => [name, t]));
  render(app, ...frame(now, actions, titles, view(now, actions)));
  document.title = `${title} · Attendance`;
  if (shown !== null && shown !== state.view) { // a reader hears of the new view
    document.getElementById("main").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  shown = state.view;
}

store.subscribe(show);
window.addEventListener("hashchange", () => store.set({ view: viewOf(location.hash) }));
setInterval(() => store.set({}), TICK_MILLISECONDS);
show(store.get());
if (store.get().signedIn) pages.loadAll();
if ("demo" in document.documentElement.dataset) {
  const { demoCorner } = await import("./demo.js");
  demoCorner(store, actions);
}
