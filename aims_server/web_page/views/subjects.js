/** Subjects: each against the target, what it allows, and what would be if. */

import { h, named } from "../dom.js";
import { canMiss, mustAttend, percent, standing } from "../figures.js";
import { bar } from "../pictures.js";
import { advice, classes, dayWords } from "../words.js";

const MOST = 30; // classes that a slider goes to
export const NO_PLAN = { attend: 0, miss: 0 };

export function subjectList(model, { plan }) {
  const { subjects } = model;
  if (!subjects.length) {
    return h("p", { class: "note" }, model.summary ? "No courses yet." : "");
  }
  return h(
    "ul",
    { class: "cards subjects" },
    ...subjects.map((subject) => card(subject, model, plan)),
  );
}

function card(subject, { target, plans }, plan) {
  const { name, code, present, total } = subject;
  const kind = standing(present, total, target);
  return h(
    "li",
    { key: name, class: "card subject" },
    h(
      "div",
      { class: "line" },
      h("h2", {}, named(name)),
      h("span", { class: `percent ${kind}` }, subject.percent),
    ),
    bar(percent(present, total), target, kind),
    h(
      "p",
      { class: "line" },
      h("span", {}, `${present} of ${classes(total)}`),
      h("span", { class: "advice" }, advice(subject, target)),
    ),
    h("p", { class: "note" }, details(subject, code)),
    total > 0 && target !== null && planner(subject, target, plans.get(name) ?? NO_PLAN, plan),
  );
}

function details({ enteredUntil, faculty, incomplete }, code) {
  return [
    code,
    faculty,
    enteredUntil && `last class entered: ${dayWords(enteredUntil)}`,
    incomplete && "some classes may be missing",
  ].filter(Boolean).join(" · ");
}

/** Two sliders and what they come to. */
function planner(subject, target, planned, plan) {
  const whose = () => h("span", { class: "unseen" }, ` for ${subject.name}`);
  const slider = (what, label) =>
    h(
      "label",
      {},
      h(
        "span",
        { class: "line" },
        h("span", {}, `${label} the next classes`, whose()),
        h("span", { "aria-hidden": "true" }, planned[what]), // the slider tells it
      ),
      h("input", {
        type: "range", min: 0, max: MOST, value: planned[what],
        oninput: (event) => plan(subject.name, { [what]: Number(event.currentTarget.value) }),
      }),
    );
  return h(
    "details",
    {},
    h("summary", {}, "What if …", whose()),
    slider("attend", "Attend"),
    slider("miss", "Miss"),
    h("p", { class: "outcome", role: "status" }, ...foreseen(subject, target, planned)),
  );
}

function foreseen(subject, target, planned) {
  const present = subject.present + planned.attend;
  const total = subject.total + planned.attend + planned.miss;
  const figures = {
    total,
    canMiss: canMiss(present, total, target),
    mustAttend: mustAttend(present, total, target),
  };
  const share = h(
    "strong",
    { class: `percent ${standing(present, total, target)}` },
    `${percent(present, total)}%`,
  );
  return [share, ` (${present} of ${total}). ${advice(figures, target)}.`];
}
