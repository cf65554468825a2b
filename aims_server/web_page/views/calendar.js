/** Calendar: a heat map of all subjects' days; a day opens its classes. */

import { h, named } from "../dom.js";
import { markKind } from "../figures.js";
import { dayTile } from "../pictures.js";
import { classes, dayWords, monthWords, weekdayWords } from "../words.js";

const WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function calendar(model, { chooseDay }) {
  const { days } = model;
  if (!days.length) {
    return h("p", { class: "note" }, model.answers["all-attendance"] ? "No days yet." : "");
  }
  const byDate = new Map(days.map((day) => [day.date, day]));
  const chosen = byDate.get(model.day) ?? days.at(-1);
  const months = [...new Set(days.map(({ date }) => date.slice(0, 7)))].reverse();
  return h(
    "div",
    { class: "split" },
    h("div", {}, legend(), ...months.map((month) => monthTable(month, byDate, chosen, chooseDay))),
    dayCard(chosen),
  );
}

function legend() {
  return h(
    "p",
    { class: "legend" },
    ...["present", "leave", "absent", "other"].map((kind) =>
      h("span", { class: kind }, kind[0].toUpperCase() + kind.slice(1)),
    ),
  );
}

function monthTable(month, byDate, chosen, chooseDay) {
  const first = new Date(`${month}-01T00:00:00Z`);
  const length = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  const cells = Array((first.getUTCDay() + 6) % 7).fill(null);
  for (let n = 1; n <= length; n += 1) cells.push(`${month}-${String(n).padStart(2, "0")}`);
  while (cells.length % 7) cells.push(null);
  const rows = [];
  for (let at = 0; at < cells.length; at += 7) rows.push(cells.slice(at, at + 7));
  return h(
    "table",
    { key: month, class: "month", onkeydown: move },
    h("caption", {}, monthWords(month)),
    h("thead", {}, h("tr", {}, ...WEEK.map((day) => h("th", { scope: "col" }, day)))),
    h(
      "tbody",
      {},
      ...rows.map((row) =>
        h("tr", {}, ...row.map((date) => cell(date, byDate.get(date), chosen, chooseDay))),
      ),
    ),
  );
}

function cell(date, day, chosen, chooseDay) {
  if (!date) return h("td", {});
  const number = Number(date.slice(8));
  if (!day) return h("td", { class: "empty" }, number);
  const counted = day.present + day.absent + day.leave;
  return h(
    "td",
    {},
    h(
      "button",
      {
        id: `day-${date}`, type: "button", class: "day", "aria-pressed": String(day === chosen),
        "aria-label": `${dayWords(date)}: ${day.present} of ${counted} attended`,
        onclick: () => chooseDay(date),
      },
      dayTile(day),
      h("span", {}, number),
    ),
  );
}

/** Arrow keys go from day to day, as in other calendars. */
function move(event) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
  const step = steps[event.key];
  const isOther = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey; // as "back"
  if (!step || isOther || !event.target.id.startsWith("day-")) return;
  event.preventDefault();
  const date = new Date(`${event.target.id.slice(4)}T00:00:00Z`);
  for (let tries = 0; tries < 31; tries += 1) {
    date.setUTCDate(date.getUTCDate() + step);
    const found = document.getElementById(`day-${date.toISOString().slice(0, 10)}`);
    if (found) return void found.focus();
  }
}

function dayCard(day) {
  return h(
    "section",
    { id: "day", class: "card", "aria-labelledby": "day-title", "aria-live": "polite" },
    h("h2", { id: "day-title" }, `${weekdayWords(day.date)}, ${dayWords(day.date)}`),
    h("p", {}, `${day.present} of ${classes(day.present + day.absent + day.leave)} attended`),
    h(
      "ol",
      { class: "lessons" },
      ...day.classes.map(({ time, subject, status, faculty }) =>
        h(
          "li",
          { key: `${time} ${subject}` },
          h("span", { class: "time" }, time),
          h("span", { class: "name" }, named(subject), faculty ? h("small", {}, faculty) : null),
          h("span", { class: `mark ${markKind(status)}` }, status),
        ),
      ),
    ),
  );
}
