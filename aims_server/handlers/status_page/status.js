// Asks for the service's figures every two seconds and shows what changed between two.
"use strict";

const EVERY_MS = 2000;
const LONGEST_MS = 10_000; // a service that hangs never says so
const KEPT = 150; // five minutes
const history = new Map();
let before = null;

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const show = (value, unit = "") => (value === null ? "–" : number.format(value) + unit);
const milliseconds = (seconds) => show(seconds === null ? null : seconds * 1000, " ms");
const megabytes = (bytes) => show(bytes / 2 ** 20, " MB");

function sum(counts) {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function sparkline(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT} 30`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values, 1e-9);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const first = KEPT - values.length;
  line.setAttribute(
    "points",
    values.map((value, i) => `${first + i},${29 - (28 * value) / most}`).join(" "),
  );
  svg.append(line);
  return svg;
}

function tile(name, text, value) {
  const values = history.get(name) ?? [];
  values.push(value ?? 0);
  if (values.length > KEPT) values.shift();
  history.set(name, values);
  const made = element("div", name, "tile");
  made.append(element("b", text), sparkline(values));
  return made;
}

function table(id, heads, rows) {
  const head = element("tr");
  head.append(...heads.map((text) => element("th", text)));
  const lines = rows.map((cells) => {
    const row = element("tr");
    row.append(
      ...cells.map((cell) =>
        Array.isArray(cell) ? element("td", cell[0], cell[1]) : element("td", cell),
      ),
    );
    return row;
  });
  document.getElementById(id).replaceChildren(head, ...lines);
}

const state = (breaker) => [breaker, breaker === "closed" ? "good" : "bad"];

function render(figures, seconds, now) {
  // Counts begin anew with the service.
  const rate = (of) =>
    before === null ? null : Math.max(0, of(figures) - of(before)) / seconds;
  const cache = figures.cache;
  const found = cache.hit + cache.stale + cache.pending;
  const share = found + cache.miss ? (100 * found) / (found + cache.miss) : null;
  const requests = rate((f) => f.requests.total);
  const failures = rate((f) => f.errors.server);
  const calls = rate((f) => sum(f.upstream.calls));
  const { p99 } = figures.latencySeconds;
  const lag = figures.loopLagSeconds.p99;
  document.getElementById("now").replaceChildren(
    tile("Requests a second", show(requests), requests),
    tile("Failures a second", show(failures), failures),
    tile("99 % answered within", milliseconds(p99), p99),
    tile("Found in the cache", show(share, " %"), share),
    tile("Kept by workers", megabytes(cache.bytes), cache.bytes),
    tile("Calls a second", show(calls), calls),
    tile(
      "Calls under way",
      `${figures.upstream.inUse} of ${figures.upstream.limit}`,
      figures.upstream.inUse,
    ),
    tile("Calls waiting", show(figures.upstream.waiting), figures.upstream.waiting),
    tile("Loop lag, 99 %", milliseconds(lag), lag),
    tile("Log lines lost", show(figures.logLinesLost), figures.logLinesLost),
  );
  table(
    "platform",
    [
      ...["endpoint", "calls", "failed", "token refused"],
      ...["half within", "99 % within", "circuit"],
    ],
    Object.entries(figures.upstream.endpoints).map(([name, endpoint]) => {
      const failed = Object.entries(endpoint.calls)
        .filter(([outcome]) => outcome.startsWith("upstream_"))
        .reduce((total, [, count]) => total + count, 0);
      const { p50, p99 } = endpoint.latencySeconds;
      return [
        name,
        show(sum(endpoint.calls)),
        show(failed),
        show(endpoint.calls.unauthorized),
        milliseconds(p50),
        milliseconds(p99),
        state(endpoint.breaker),
      ];
    }),
  );
  table(
    "workers",
    ["worker", "memory", "processor", "up", "reloads", "state", "circuits"],
    Object.entries(figures.workers).map(([name, worker]) => [
      name,
      megabytes(worker.residentBytes),
      show(worker.cpuSeconds, " s"),
      show(Math.max(0, now - worker.startTime) / 60, " min"),
      show(worker.generation),
      worker.leaving ? "leaving" : "serving",
      state(worker.breaker),
    ]),
  );
  table(
    "limits",
    ["limit", "refused"],
    Object.entries(figures.requests.limitedBy).map(([kind, n]) => [kind, show(n)]),
  );
}

// A screen reader reads a failure out, once, and not the time every two seconds.
function tell(text, isGood) {
  const age = document.getElementById("age");
  if (age.textContent === text) return;
  age.ariaLive = isGood ? "off" : "polite";
  age.textContent = text;
  age.className = isGood ? "good" : "bad";
}

async function refresh() {
  try {
    const answer = await fetch("status", {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(LONGEST_MS),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const figures = await answer.json();
    const at = performance.now();
    const now = Date.parse(answer.headers.get("Date")) / 1000; // by the service's clock
    render(figures, before === null ? 1 : (at - before.at) / 1000, now);
    before = { ...figures, at };
    tell(new Date().toLocaleTimeString(), true);
  } catch (error) {
    tell(`No answer: ${error.message}`, false);
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
