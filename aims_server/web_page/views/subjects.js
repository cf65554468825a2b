/** Subjects: each against the target, what it allows, and what would be if. */

import { h } from "../dom.js";
import { canMiss, mustAttend, percent, standing } from "../figures.js";
import { bar } from "../pictures.js";
import { advice, classes, dayWords } from "../words.js";

const MOST = 30; // classes that a slider goes to

const plans = new Map(); // by subject: {attend, miss, open}

export function subjectList(model) {
  if (!model.subjects.length) {
    return h("p", { class: "note" }, model.summary ? "No courses yet." : "");
  }
  return h(
    "ul",
    { class: "cards subjects" },
    ...model.subjects.map((subject) => card(subject, model.target)),
  );
}

function card(subject, target) {
  const { name, code, present, total } = subject;
  if (!plans.has(name)) plans.set(name, { attend: 0, miss: 0, open: false });
  const kind = standing(present, total, target);
  return h(
    "li",
    { class: "card subject" },
    h(
      "div",
      { class: "line" },
      h("h2", {}, name),
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
    total > 0 ? planner(subject, target, plans.get(name)) : null,
  );
}

function details({ enteredUntil, faculty, incomplete }, code) {
  return [
    code,
    faculty,
    enteredUntil && `entered until ${dayWords(enteredUntil)}`,
    incomplete && "not everything could be had",
  ].filter(Boolean).join(" · ");
}

/** Two sliders and what they come to. They draw themselves: `plan` outlives a drawing. */
function planner(subject, target, plan) {
  const id = `plan-${subject.code}-${subject.name}`.replace(/[^\w-]+/g, "-");
  const outcome = h("p", { class: "outcome", role: "status" });
  const slider = (what, label) => {
    const text = h("span");
    const show = () => {
      text.textContent = `${label} the next ${classes(plan[what])}`;
      outcome.replaceChildren(...foreseen(subject, target, plan));
    };
    const oninput = (event) => {
      plan[what] = Number(event.currentTarget.value);
      show();
    };
    show();
    return h(
      "label",
      {},
      text,
      h("input", {
        id: `${id}-${what}`, type: "range", min: 0, max: MOST, value: plan[what], oninput,
        "aria-label": `${subject.name}: ${label.toLowerCase()} the next classes`,
      }),
    );
  };
  return h(
    "details",
    { open: plan.open, ontoggle: (event) => (plan.open = event.currentTarget.open) },
    h("summary", { id }, "What if …", h("span", { class: "unseen" }, ` for ${subject.name}`)),
    slider("attend", "Attend"),
    slider("miss", "Miss"),
    outcome,
  );
}

function foreseen(subject, target, plan) {
  const present = subject.present + plan.attend;
  const total = subject.total + plan.attend + plan.miss;
  const figures = {
    total,
    canMiss: canMiss(present, total, target),
    mustAttend: mustAttend(present, total, target),
  };
  const share = h(
    "strong",
    { class: `percent ${standing(present, total, target)}` },
    `${percent(present, total)} %`,
  );
  return [share, ` (${present} of ${total}). ${advice(figures, target)}.`];
}
