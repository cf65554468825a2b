/** What stands round every view: title, freshness, progress, problems and the tabs. */

import { h, named } from "./dom.js";
import { NAMES } from "./pages.js";
import { freshnessWords, problemWords, waitWords } from "./words.js";

/** The elements of the whole page round `content`. */
export function frame(model, actions, titles, content) {
  return [
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the content"),
    h(
      "header",
      { class: "top" },
      h("div", { class: "who" }, h("h1", {}, "Attendance"), group(model.summary)),
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          { id: "refresh", type: "button", onclick: actions.refresh,
            "aria-disabled": model.loading.length > 0 && "true" },
          "Refresh",
        ),
        h("button", { id: "sign-out", type: "button", onclick: actions.signOut }, "Log out"),
      ),
    ),
    h(
      "nav",
      { "aria-label": "Views" },
      Object.entries(titles).map(([name, title]) =>
        h(
          "a",
          { id: `tab-${name}`, href: `#${name}`, "aria-current": model.view === name && "page" },
          title,
        ),
      ),
    ),
    h(
      "section",
      { class: "status", "aria-label": "How fresh this is" },
      h("p", { class: "fresh" }, model.loading.length ? "" : freshness(model.answers)),
      h("div", { role: "status", "aria-atomic": "false" }, ...status(model, actions)),
    ),
    h(
      "main",
      { id: "main", key: model.view, tabindex: "-1", "aria-label": titles[model.view] },
      content,
    ),
  ];
}

function skip(event) {
  event.preventDefault(); // the address is the view's
  document.getElementById("main").focus();
}

function group(summary) {
  if (!summary) return null;
  const parts = [summary.branch, summary.section, summary.batch].filter(Boolean);
  return h("span", {}, parts.join(" · "));
}

function status(model, actions) {
  const { answers, problems, progress, loading } = model;
  const lines = [];
  if (progress) {
    const { done, of } = progress;
    lines.push(
      h(
        "p",
        { key: "progress", class: "progress", "aria-live": "off" }, // changes with each subject
        h("progress", { max: of, value: done, "aria-label": "Subjects loaded" }),
        `${done} of ${of} subjects`,
      ),
    );
  } else if (loading.length) {
    lines.push(h("p", { key: "loading" }, "Loading …"));
  } else if (!Object.keys(problems).length) {
    lines.push(h("p", { key: "loaded", class: "unseen" }, "Loaded.")); // for a screen reader
  }
  const told = new Set();
  for (const name of NAMES.filter((page) => problems[page])) {
    const sentence = problemWords(problems[name]);
    if (told.has(sentence)) continue;
    told.add(sentence);
    const kept = answers[name] ? " What you see was loaded earlier." : "";
    lines.push(
      h(
        "p",
        { key: sentence, class: "problem" },
        sentence + kept,
        h("span", { "aria-live": "off" }, waitWords(problems[name])), // counts down
        told.size === 1 && // one does for all
          h("button", { id: "retry", type: "button", onclick: actions.retry }, "Try again"),
      ),
    );
  }
  const missing = new Set(Object.values(answers).flatMap(({ data }) => data.incomplete ?? []));
  if (missing.size) {
    lines.push(
      h(
        "p",
        { key: "missing", class: "missing" },
        h(
          "span",
          {},
          "The college's platform did not send everything for ",
          ...[...missing].flatMap((name, n) => [n ? ", " : "", named(name)]),
          ". Some classes may be missing here.",
        ),
      ),
    );
  }
  return lines;
}

function freshness(answers) {
  const answer = answers["all-attendance"] ?? answers.attendance;
  return answer ? freshnessWords(answer, (Date.now() - answer.at) / 1000) : "";
}
