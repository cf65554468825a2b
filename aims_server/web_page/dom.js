/** Elements out of plain calls, and what changed of them. Text is always text: no HTML is read. */

const SVG = "http://www.w3.org/2000/svg";
const LISTENERS = ["onclick", "oninput", "onkeydown", "onsubmit"];

/**
 * An HTML element: `h("p", {class: "note", onclick: f}, "text", child)`.
 * Attributes that are false, null or undefined are left out, `on…` are of LISTENERS.
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
    if (LISTENERS.includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/**
 * Make the content of `parent` that of `fresh`. An element of the same tag and id stays and
 * takes over what is new: with it stay the focus, what is typed, dragged, selected, scrolled
 * or unfolded, and a live region, of which a screen reader then reads what has changed.
 */
export function render(parent, ...fresh) {
  let next = parent.firstChild;
  for (const node of fresh) {
    let old = next;
    while (old && !(old.nodeName === node.nodeName && old.id === node.id)) old = old.nextSibling;
    if (!old) {
      parent.insertBefore(node, next);
      continue;
    }
    for (; next !== old; next = removed(next));
    next = old.nextSibling;
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== node.data) old.data = node.data;
    } else {
      takeOver(old, node);
      render(old, ...node.childNodes);
    }
  }
  while (next) next = removed(next);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function takeOver(old, fresh) {
  for (const name of old.getAttributeNames()) {
    const unfolded = name === "open"; // by who reads the page
    if (!unfolded && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of LISTENERS) old[name] = fresh[name];
}
