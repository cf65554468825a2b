/** Timetable: the month's classes by week, today marked, and as a calendar file. */

import { h, named } from "../dom.js";
import { dayWords, monthWords, weekdayWords } from "../words.js";

export function timetable(model, { saveCalendar }) {
  const table = model.timetable;
  if (!table) return h("p", { class: "note" }, "");
  const [today] = model.now;
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "line" },
      h("h2", {}, table.month ? monthWords(table.month) : "Timetable"),
      h(
        "button",
        { id: "save-calendar", type: "button", onclick: saveCalendar,
          "aria-disabled": model.saving && "true" },
        "Save as calendar file",
      ),
    ),
    table.days.length
      ? h("ol", { class: "cards plain" }, ...table.days.map((day) => dayCard(day, today)))
      : h("p", { class: "note" }, "No classes are entered for this month."),
  );
}

function dayCard({ date, slots }, today) {
  const isToday = date === today;
  return h(
    "li",
    { key: date, class: `card ${isToday ? "today" : ""}`, "aria-current": isToday && "date" },
    h(
      "h3",
      {},
      `${weekdayWords(date)}, ${dayWords(date)} `,
      isToday && h("span", { class: "tag" }, "Today"),
    ),
    h(
      "ol",
      { class: "lessons" },
      ...slots.map((slot) =>
        h(
          "li",
          { key: `${slot.start} ${slot.course}` },
          h("span", { class: "time" }, `${slot.start} – ${slot.end}`),
          h("span", { class: "name" }, named(slot.course), slot.faculty ? h("small", {}, slot.faculty) : null),
          slot.held === true ? h("span", { class: "mark present" }, "Held") : null,
        ),
      ),
    ),
  );
}
