/** The login form, and why it is shown. */

import { h } from "../dom.js";
import { problemWords, waitWords } from "../words.js";

export function login({ notice, signingIn }, { signIn }) {
  function submit(event) {
    event.preventDefault();
    const { username, password } = event.currentTarget.elements;
    signIn(username.value, password.value);
  }
  return h(
    "main",
    { id: "main", class: "login", tabindex: "-1" },
    h("h1", {}, "Attendance"),
    h("p", { class: "lead" }, "How many classes you were in, and how many you may miss."),
    h(
      "form",
      { onsubmit: submit },
      field("username", "User name", "text", "username"),
      field("password", "Password", "password", "current-password"),
      h(
        "p",
        { id: "notice", class: "problem", role: "alert", "aria-atomic": "false", hidden: !notice },
        notice && (notice.message || problemWords(notice)), // mostly the platform's own words
        h("span", { "aria-live": "off" }, notice ? waitWords(notice) : ""), // counts down
      ),
      h(
        "button",
        { id: "sign-in", type: "submit", class: "primary", "aria-disabled": signingIn && "true" },
        signingIn ? "Logging in …" : "Log in",
      ),
      // No screen reader reads a button's new words while the focus is in a field.
      h("p", { class: "unseen", role: "status" }, signingIn ? "Logging in …" : ""),
    ),
    h(
      "p",
      { class: "note" },
      "Your password goes to your college's platform and is kept nowhere. ",
      "On a shared device, log out when you are done.",
    ),
  );
}

function field(name, label, type, autocomplete) {
  return h(
    "label",
    { for: name },
    label,
    h("input", {
      id: name, name, type, autocomplete, required: true, autocapitalize: "none",
      spellcheck: "false",
    }),
  );
}
