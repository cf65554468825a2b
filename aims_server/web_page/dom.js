/** Elements out of plain calls. Text is always text: nothing here reads HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element: `h("p", {class: "note", onclick: f}, "text", child)`.
 * Attributes that are false, null or undefined are left out, `on…` are listeners.
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The like for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/**
 * Put new content in place of the old. The element that had the focus keeps it, as does
 * a caret its place, if the new content has an element of the same id. While a slider is
 * dragged nothing is replaced; the next change draws what was left out.
 */
export function render(region, ...content) {
  if (region.querySelector("input[type=range]:active")) return; // a drag would break off
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const caret = focused?.selectionStart;
  region.replaceChildren(...content);
  if (!focused?.id) return;
  const same = document.getElementById(focused.id);
  same?.focus({ preventScroll: true });
  if (typeof caret === "number") same?.setSelectionRange?.(caret, caret);
}
