/** Elements out of plain calls, and what changed of them. Text is always text: no HTML is read. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = ["key", "onclick", "oninput", "onkeydown", "onsubmit"];

/**
 * An HTML element: `h("p", {class: "note", onclick: f}, "text", child)`.
 * Attributes that are false, null or undefined are left out. PROPERTIES are no attributes but
 * listeners, and the `key` that tells an element from its like (see `render`), else its id.
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The like for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A name as it came, which may be written from right to left. */
export const named = (name) => h("bdi", {}, name);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (PROPERTIES.includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/**
 * Make the content of `parent` that of `fresh`. A child of the same tag and key stays and
 * takes over what is new: with it stay the focus, what is typed, dragged, selected, scrolled
 * or unfolded, and a live region, of which a screen reader then reads what has changed.
 * What stands for one of several things that may come, go and move needs a key of its own.
 */
export function render(parent, ...fresh) {
  const old = [...parent.childNodes];
  const content = fresh.map((node) => {
    const at = old.findIndex((child) => alike(child, node));
    return at < 0 ? node : old.splice(at, 1)[0];
  });
  old.forEach((node) => node.remove());
  content.forEach((node, n) => {
    if (node !== parent.childNodes[n]) place(node, parent, parent.childNodes[n] ?? null);
    if (node !== fresh[n]) takeOver(node, fresh[n]);
  });
}

const keyOf = ({ key, id }) => key ?? id;

const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function place(node, parent, before) {
  const focused = document.activeElement;
  parent.insertBefore(node, before); // which takes the focus away from what moves
  if (node.contains(focused)) focused.focus({ preventScroll: true });
}

function takeOver(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of old.getAttributeNames()) {
    const unfolded = name === "open"; // by who reads the page
    if (!unfolded && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of PROPERTIES) old[name] = fresh[name];
  render(old, ...fresh.childNodes);
}
