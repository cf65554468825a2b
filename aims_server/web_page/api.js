/**
 * The service's API, as a frontend should use it.
 *
 * An answer is `{data, cache, age, unkept, ms, ahead}`: the JSON, `X-Cache`, `Age` in seconds,
 * whether the service keeps no copy, how many milliseconds it took, and by how many the
 * service's clock is ahead of the device's.
 * A failure is a `Problem`.
 */

const MOMENT_MILLISECONDS = 1000; // sooner, progress would only flash
const LONGEST_ANSWER_MILLISECONDS = 60_000; // a network that is gone may never say so
const TOKEN = "token"; // of sessionStorage; the token is kept nowhere else
const ENDED = "ended"; // of localStorage: digests of the tokens last logged out in this browser
const MOST_ENDED = 50;

/**
 * A failure, with the contract's `code`; "offline" when the service was not reached,
 * "foreign" when what answered was not the service (the login page of a campus network), and
 * "unstored" when the browser lets the page store nothing.
 */
export class Problem extends Error {
  /** @param {string} code @param {string} sentence @param {number | null} retryAfter seconds */
  constructor(code, sentence = "", retryAfter = null) {
    super(sentence);
    this.code = code;
    this.retryAfter = retryAfter;
    this.at = Date.now();
  }
}

/** What `use` gives of what is stored; `otherwise` where the browser forbids to store. */
function stored(use, otherwise) {
  try {
    return use();
  } catch {
    return otherwise;
  }
}

const token = () => stored(() => sessionStorage.getItem(TOKEN), null);

/** 32 bits that stand for a token, which cannot be had of them (FNV-1a). */
const digest = (text) =>
  `${[...text].reduce((sum, c) => Math.imul(sum ^ c.charCodeAt(), 16777619), 2166136261)}`;

const ended = () => stored(() => localStorage.getItem(ENDED) ?? "", "").split(" ");

const setEnded = (digests) => localStorage.setItem(ENDED, digests.slice(-MOST_ENDED).join(" "));

let login = new AbortController(); // aborted when it ends, with its requests

/** Drop the token, and leave what was asked with it: a browser lets a request wait for an
 * earlier one for the same address, be it another student's. */
export function signOut() {
  stored(() => sessionStorage.removeItem(TOKEN));
  login.abort();
  login = new AbortController();
}

/** Whether this tab holds a token; one that was logged out in a copy of the tab is dropped. */
export function signedIn() {
  if (token() !== null && ended().includes(digest(token()))) signOut();
  return token() !== null;
}

/** Have the copies of this tab, which hold the same token, log out too. */
export function signOutCopies() {
  // Where there is no room to store it, or none is allowed, this tab logs out all the same.
  stored(() => setEnded([...ended(), digest(token())]));
}

export function onSignedOut(listener) {
  addEventListener("storage", () => token() !== null && !signedIn() && listener());
}

/** Tell when the page was kept for the way back, and the tab has another login by now. */
export function onOtherLogin(listener) {
  let left;
  addEventListener("pagehide", () => void (left = token()));
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted && (signedIn() ? token() : null) !== left) listener();
  });
}

/** Log in and keep the token. */
export async function signIn(username, password) {
  const response = await ask("api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  const body = await json(response);
  if (typeof body.token !== "string") throw new Problem("foreign");
  const again = digest(body.token); // a platform may give the same one twice
  try {
    if (ended().includes(again)) setEnded(ended().filter((other) => other !== again));
    sessionStorage.setItem(TOKEN, body.token);
  } catch {
    throw new Problem("unstored");
  }
}

/**
 * One of the student's pages. The browser's copy is checked with the service each time
 * (a 304 costs no body); `fresh` asks for one that is newer than the service's copy.
 */
export async function page(name, { fresh = false } = {}) {
  const began = performance.now();
  const response = await askAsStudent(name, fresh, "application/json");
  return answer(await json(response), response, began);
}

/**
 * The page, and `onProgress({done, of})` as its subjects come. The page itself comes
 * as always, packed and with its headers; when it takes longer than a moment the events of
 * the same gathering are read beside it, and left when it is there.
 */
export async function pageWithProgress(name, onProgress, options = {}) {
  const progress = new AbortController();
  const timer = setTimeout(follow, MOMENT_MILLISECONDS, name, onProgress, options, progress.signal);
  try {
    return await page(name, options);
  } finally {
    clearTimeout(timer);
    progress.abort();
  }
}

async function follow(name, onProgress, { fresh = false }, signal) {
  try {
    // Past the browser's cache, which lets one request for an address wait for another.
    const options = { cache: "no-store", signal };
    const response = await askAsStudent(name, fresh, "text/event-stream", options);
    for await (const { event, data } of events(response)) {
      if (event === "started") onProgress({ done: 0, of: data.subjects });
      else if (event === "subject") onProgress(data);
    }
  } catch {
    // Left, or refused: the page says what there is to say.
  }
}

/** The timetable as a file for calendar programs. */
export async function calendarFile() {
  const response = await askAsStudent("timetable", false, "text/calendar");
  const file = await response.blob().catch(() => {
    throw new Problem("offline");
  });
  if (!file.type.startsWith("text/calendar")) throw new Problem("foreign");
  return file;
}

function askAsStudent(name, fresh, accept, options = {}) {
  const headers = { Accept: accept, Authorization: `Bearer ${token()}` };
  // "no-cache" checks the browser's copy with the service, for which the service's own copy
  // will do, as the header says; "reload" sends `Cache-Control: no-cache`: neither will do.
  if (!fresh) headers["Cache-Control"] = "max-age=86400";
  return ask(`api/${name}`, { cache: fresh ? "reload" : "no-cache", headers, ...options });
}

async function ask(path, options) {
  const late = AbortSignal.timeout?.(LONGEST_ANSWER_MILLISECONDS); // none before 2022
  // Browsers before 2024 know no `any`: there the answers come, and are not shown.
  const signal = AbortSignal.any?.([late, login.signal]) ?? late;
  let response;
  try {
    response = await fetch(path, { signal, ...options });
  } catch {
    throw new Problem("offline");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null); // as that of a proxy
  const text = (name) => (typeof body?.[name] === "string" ? body[name] : "");
  const wait = Number(response.headers.get("Retry-After"));
  throw new Problem(text("code"), text("error"), wait || null);
}

async function json(response) {
  const body = await response.json().catch((fault) => {
    throw new Problem(fault instanceof SyntaxError ? "foreign" : "offline");
  });
  if (!(body instanceof Object)) throw new Problem("foreign"); // as null
  return body;
}

function answer(data, response, began) {
  const { headers } = response;
  return {
    data,
    cache: headers.get("X-Cache"),
    age: Number(headers.get("Age")),
    unkept: /max-age=0\b/.test(headers.get("Cache-Control")),
    ms: Math.round(performance.now() - began),
    ahead: Date.parse(headers.get("Date")) - Date.now(),
  };
}

/** The events of a stream as the service writes them, each with its data read as JSON. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1]; // none in a comment
      if (event) yield { event, data: JSON.parse(/^data: (.*)$/m.exec(block)[1]) };
    }
  }
}
