/** The login form, and why it is shown. */

import { h } from "../dom.js";
import { problemWords } from "../words.js";

export function login({ notice, signingIn }, { signIn }) {
  function submit(event) {
    event.preventDefault();
    const { username, password } = event.currentTarget.elements;
    signIn(username.value, password.value);
  }
  return h(
    "main",
    { class: "login" },
    h("h1", {}, "Attendance"),
    h("p", { class: "lead" }, "How many classes you were in, and how many you may miss."),
    h(
      "form",
      { onsubmit: submit },
      field("username", "User name", "text", "username"),
      field("password", "Password", "password", "current-password"),
      h("p", { id: "notice", class: "problem", role: "alert", hidden: !notice }, words(notice)),
      h(
        "button",
        { id: "sign-in", type: "submit", class: "primary", disabled: signingIn },
        signingIn ? "Logging in …" : "Log in",
      ),
    ),
    h(
      "p",
      { class: "note" },
      "The password goes to your college's platform and is kept nowhere. ",
      "Closing this tab ends the login here.",
    ),
  );
}

const typed = {}; // the form is drawn anew when a login fails; what was typed stays

function field(name, label, type, autocomplete) {
  return h(
    "label",
    { for: name },
    label,
    h("input", {
      id: name, name, type, autocomplete, required: true, autocapitalize: "none",
      spellcheck: "false", value: typed[name] ?? "",
      oninput: (event) => {
        typed[name] = event.currentTarget.value;
      },
    }),
  );
}

function words(notice) {
  if (!notice) return "";
  // A refused login has the platform's own sentence; everything else has ours.
  const refused = notice.code === "unauthorized" || notice.code === "invalid_request";
  return refused && notice.message ? notice.message : problemWords(notice);
}
