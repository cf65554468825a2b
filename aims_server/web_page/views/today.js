/** Today: the overall figure, the next class, today's marks, and what needs attention. */

import { h, named } from "../dom.js";
import { markKind, percent, standing } from "../figures.js";
import { ring } from "../pictures.js";
import { advice, classes, dayWords, targetWords, weekdayWords } from "../words.js";

export function today(model) {
  const [date, time] = model.now;
  return h(
    "div",
    { class: "cards" },
    overall(model),
    h(
      "section",
      { class: "card", "aria-labelledby": "today-title" },
      h("h2", { id: "today-title" }, `${weekdayWords(date)}, ${dayWords(date)}`),
      ...lessons(model, date, time),
    ),
    attention(model),
  );
}

function overall({ summary, target }) {
  if (!summary) return h("section", { class: "card overall", "aria-hidden": "true" });
  const { totalPresent: present, totalClasses: total, overallPercentage } = summary;
  return h(
    "section",
    { class: "card overall", "aria-labelledby": "overall-title" },
    h(
      "div",
      { class: "figure" },
      ring(percent(present, total), target, standing(present, total, target)),
      h("p", { id: "overall", class: "big" }, overallPercentage),
    ),
    h(
      "div",
      {},
      h("h2", { id: "overall-title" }, "Overall"),
      h("p", {}, `${present} of ${classes(total)} attended`),
      h("p", { class: "advice" }, advice({ ...summary, total }, target)),
    ),
  );
}

function lessons(model, date, time) {
  const slots = model.timetable?.days.find((day) => day.date === date)?.slots ?? [];
  const marks = model.days.find((day) => day.date === date)?.classes ?? [];
  if (!slots.length && !marks.length) {
    return [h("p", { class: "note" }, nothing(model.timetable, date))];
  }
  const next = slots.find((slot) => slot.start > time);
  const rest = new Set(marks);
  const rows = slots.map((slot) => {
    const found = marks.filter((mark) => isOf(mark, slot));
    found.forEach((mark) => rest.delete(mark));
    // A slot may be several classes, each with its mark.
    const statuses = [...new Set(found.map(({ status }) => status))];
    return lesson(slot.start, slot.end, slot.course, stateOf(slot, next, time), statuses);
  });
  rows.push(...[...rest].map((mark) => lesson(mark.time, "", mark.subject, "", [mark.status])));
  return [h("ol", { class: "lessons" }, ...rows)];
}

function nothing(timetable, date) {
  if (!timetable) return "";
  const known = timetable.month === date.slice(0, 7);
  return known ? "No classes today." : "There is no timetable for today.";
}

function isOf(mark, { start, end, course, cfId }) {
  const same = cfId ? mark.cfId === cfId : mark.subject === course || mark.subject.startsWith(`${course} (`);
  return same && mark.time >= start && mark.time < end;
}

function stateOf(slot, next, time) {
  if (slot.start <= time && time < slot.end) return "now";
  return slot === next ? "next" : "";
}

function lesson(start, end, course, state, statuses) {
  return h(
    "li",
    { key: `${start} ${course}`, class: state || false },
    h("span", { class: "time" }, end ? `${start} – ${end}` : start),
    h(
      "span",
      { class: "name" },
      named(course),
      " ",
      state ? h("span", { class: "tag" }, state === "now" ? "Now" : "Next class") : null,
    ),
    statuses.length > 0 && h("span", { class: "mark" }, ...statuses.flatMap(inItsColour)),
  );
}

function inItsColour(status, n) {
  return [n ? ", " : "", h("span", { class: `mark ${markKind(status)}` }, status)];
}

function attention({ subjects, target }) {
  if (!subjects.length) return null;
  const counted = subjects.filter(({ total }) => total > 0);
  const low = counted.filter(({ mustAttend }) => mustAttend !== 0);
  return h(
    "section",
    { class: "card", "aria-labelledby": "attention-title" },
    h("h2", { id: "attention-title" }, "Needs attention"),
    low.length
      ? h(
          "ul",
          { class: "plain" },
          ...low.map((subject) =>
            h(
              "li",
              { key: subject.name },
              h("span", { class: "name" }, named(subject.name)),
              h("span", { class: `percent ${standing(subject.present, subject.total, target)}` },
                subject.percent),
              h("span", { class: "advice" }, advice(subject, target)),
            ),
          ),
        )
      : h(
          "p",
          { class: "note" },
          counted.length ? `No subject is below ${targetWords(target)}.` : "No class counted yet.",
        ),
  );
}
