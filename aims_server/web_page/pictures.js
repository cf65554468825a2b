/** Small drawings of figures, as inline SVG. Each is described by the text beside it. */

import { svg } from "./dom.js";

const RADIUS = 42;
const ROUND = 2 * Math.PI * RADIUS;

/** A ring filled to `share` percent, with a mark at the target. */
export function ring(share, target, standing) {
  const filled = (Math.min(100, Math.max(0, share)) / 100) * ROUND;
  const angle = (target / 100) * 2 * Math.PI;
  const [x, y] = [Math.sin(angle), -Math.cos(angle)];
  return svg(
    "svg",
    { class: `ring ${standing}`, viewBox: "0 0 100 100", "aria-hidden": "true" },
    svg("circle", { class: "track", cx: 50, cy: 50, r: RADIUS }),
    svg("circle", {
      class: "value", cx: 50, cy: 50, r: RADIUS, transform: "rotate(-90 50 50)",
      "stroke-dasharray": `${filled} ${ROUND}`,
    }),
    svg("line", {
      class: "target", x1: 50 + 35 * x, y1: 50 + 35 * y, x2: 50 + 49 * x, y2: 50 + 49 * y,
    }),
  );
}

/** A bar filled to `share` percent, with a mark at the target if that is known. */
export function bar(share, target, standing) {
  const width = Math.min(100, Math.max(0, share));
  return svg(
    "svg",
    {
      class: `bar ${standing}`, viewBox: "0 0 100 6", preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    svg("rect", { class: "track", width: 100, height: 6 }),
    svg("rect", { class: "value", width, height: 6 }),
    target !== null && svg("rect", { class: "target", x: target - 0.4, width: 0.8, height: 6 }),
  );
}

/** One day of the heat map: attended from below, leave and absence above it. */
export function dayTile({ present, absent, leave, other }) {
  const all = present + absent + leave + other;
  let top = 10;
  const part = (kind, count) => {
    const height = all ? (10 * count) / all : 0;
    top -= height;
    return svg("rect", { class: kind, x: 0, y: top, width: 10, height });
  };
  return svg(
    "svg",
    { class: "tile", viewBox: "0 0 10 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    part("present", present), part("other", other), part("leave", leave), part("absent", absent),
  );
}
