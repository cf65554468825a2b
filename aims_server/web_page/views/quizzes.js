/** Quizzes: the evaluated ones, course by course. Their links hold a PIN: not shown. */

import { h, named } from "../dom.js";
import { dayWords } from "../words.js";

export function quizzes(model) {
  const rows = rowsOf(model.quizzes);
  if (!rows.length) {
    return h("p", { class: "note" }, model.quizzes ? "No evaluated quizzes." : "");
  }
  // Of groups with one code the first.
  const names = new Map([...model.subjects].reverse().map(({ code, name }) => [code, name]));
  return h(
    "div",
    { class: "cards" },
    ...[...grouped(rows)].map(([code, taken]) => course(code, names.get(code) ?? code, taken)),
  );
}

/** The rows of the platform's own answer, in each of the envelopes that the service reads. */
function rowsOf(answer) {
  const { response, data } = answer ?? {};
  // `response` may be empty, a word, or have words of its own.
  const isList = response instanceof Object && Object.keys(response).some((key) => /^(\d+|data)$/.test(key));
  let list = isList ? response : data;
  while (list?.data instanceof Object) list = list.data;
  if (list?.data === null) list = data;
  const entries = list instanceof Object ? Object.entries(list) : [];
  return entries.filter(([key, row]) => /^\d+$/.test(key) && row instanceof Object).map(([, row]) => row);
}

function grouped(rows) {
  const courses = new Map();
  for (const row of rows) {
    const code = shown(row.master_course_code);
    if (!courses.has(code)) courses.set(code, []);
    courses.get(code).push(row);
  }
  return courses;
}

function course(code, name, taken) {
  const marks = taken.map((quiz) => shown(quiz.marks_obtained)).map(Number).filter(Number.isFinite);
  const average = marks.length ? marks.reduce((a, b) => a + b) / marks.length : null;
  return h(
    "section",
    { key: code, class: "card" },
    h("h2", {}, named(name)),
    average === null
      ? null
      : h("p", {}, `Average ${Math.round(10 * average) / 10}, best ${Math.max(...marks)}`),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `Quizzes of ${name}` },
      h(
        "table",
        { class: "quizzes" },
        h(
          "thead",
          {},
          h("tr", {}, ...["Quiz", "Day", "Marks", "Right", "Wrong", "Left out"].map((title) =>
            h("th", { scope: "col" }, title))),
        ),
        h("tbody", {}, ...taken.map(quizRow)),
      ),
    ),
  );
}

function quizRow(quiz) {
  const day = /^\d{4}-\d{2}-\d{2}/.exec(quiz.loggedin_at ?? "")?.[0];
  const known = day > "1971" && !Number.isNaN(Date.parse(day)); // no null of a database's
  const figures = [quiz.marks_obtained, quiz.correct, quiz.incorrect, quiz.not_attempted];
  return h(
    "tr",
    { key: shown(quiz.quiz_uc) },
    h("th", { scope: "row" }, shown(quiz.quiz_uc)),
    h("td", {}, known ? dayWords(day) : "–"),
    ...figures.map((figure) => h("td", {}, shown(figure))),
  );
}

const shown = (value) => (["string", "number"].includes(typeof value) && `${value}`.trim()) || "–";
