/**
 * The demo's corner: log in as an invented student, choose a scenario of the platform,
 * and see how the service answered. Only `aims-server demo` has it.
 */

import { h, render } from "./dom.js";

const WIDE = 1000; // px of a window that has room for the corner beside the page

/** What the demo tells of itself; null when it, or its platform, is out of reach. */
const ask = (options) =>
  fetch("demo", options).then((response) => response.ok ? response.json() : null).catch(() => null);

/** Show the corner, which covers a part of the window, and keep it true to the state. */
export async function demoCorner(store, actions) {
  let demo = await ask();
  if (demo === null) return;
  const corner = h("aside", { class: "demo", "aria-label": "Demo" });
  document.body.append(corner);
  let signedIn = null;

  async function choose(scenario) {
    const body = JSON.stringify({ scenario });
    demo = (await ask({ method: "POST", body })) ?? demo;
    show(store.get());
  }

  async function enter({ username, password }) {
    if (store.get().signedIn) actions.signOut();
    await actions.signIn(username, password);
  }

  function show(state) {
    const chosen = demo.scenarios.find(({ name }) => name === demo.scenario);
    render(
      corner,
      h(
        "details",
        {},
        h("summary", { id: "demo" }, `Demo: the platform is ${demo.scenario || "as told"}`),
        h(
          "p",
          { role: "group", "aria-label": "Log in as an invented student" },
          ...demo.students.map(studentButton),
        ),
        h(
          "p",
          { role: "group", "aria-label": "The platform" },
          ...demo.scenarios.map(scenarioButton),
        ),
        h("p", { class: "note" }, chosen?.what ?? ""),
        h("dl", { id: "last-answers" }, ...Object.entries(state.answers).flatMap(lastAnswer)),
      ),
    );
    if (signedIn === state.signedIn) return;
    ({ signedIn } = state);
    // On a phone it would hide what there is to see.
    corner.firstChild.open = !signedIn || window.innerWidth > WIDE;
  }

  function studentButton(student) {
    return h(
      "button",
      { id: `as-${student.username}`, type: "button", onclick: () => enter(student) },
      h("strong", {}, student.name),
      h("small", {}, student.standing),
    );
  }

  function scenarioButton({ name, what }) {
    return h(
      "button",
      {
        id: `scenario-${name}`, type: "button", title: what,
        "aria-pressed": String(name === demo.scenario), onclick: () => choose(name),
      },
      name[0].toUpperCase() + name.slice(1),
    );
  }

  store.subscribe(show);
  show(store.get());
}

function lastAnswer([name, { cache, age, ms }]) {
  return [
    h("dt", {}, name),
    h("dd", {}, h("strong", {}, cache), ` ${ms} ms`, age ? `, ${age} s old` : ""),
  ];
}
