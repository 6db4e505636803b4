// Elements without markup in strings: what comes from outside is always text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | false | null | undefined | any[]} Child
 * @typedef {Record<string, unknown>} Attributes `on…` is a listener, `style` an object of custom
 *   properties; `false`, `null` and `undefined` leave an attribute out.
 */

/**
 * Makes an HTML element: `h("button.main", { onclick }, "Go")`.
 * @param {string} name the tag, with classes after dots
 * @param {Attributes | Child | Child[]} [first]
 * @param {...(Child | Child[])} rest
 * @returns {any} the element; `any`, since callers know which it is
 */
export function h(name, first, ...rest) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  return fill(element, classes, first, rest);
}

/**
 * The same for SVG.
 * @param {string} name
 * @param {Attributes | Child | Child[]} [first]
 * @param {...(Child | Child[])} rest
 * @returns {SVGElement}
 */
export function s(name, first, ...rest) {
  const [tag, ...classes] = name.split(".");
  return fill(document.createElementNS(SVG, tag), classes, first, rest);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {string[]} classes
 * @param {any} first
 * @param {any[]} rest
 */
function fill(element, classes, first, rest) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  const plain = first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first);
  const children = plain ? rest : [first, ...rest];
  for (const [key, value] of Object.entries(plain ? first : {})) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") setStyle(/** @type {any} */ (element), value);
    else if (key in { value: 1, checked: 1, srcObject: 1, muted: 1 }) Object.assign(element, { [key]: value });
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

/** @param {HTMLElement} element @param {Record<string, string | number>} style */
function setStyle(element, style) {
  for (const [key, value] of Object.entries(style)) element.style.setProperty(key, String(value));
}

/** @param {Element} parent @param {any[]} children */
export function add(parent, children) {
  for (const child of children.flat(3)) {
    if (child === false || child === null || child === undefined) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces what is in an element.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function put(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * Tells a screen reader. One region for the page, so nothing is said twice.
 * @param {string} text
 * @param {boolean} [now] interrupt
 */
export function announce(text, now = false) {
  const region = byId(now ? "alert" : "status");
  if (region.textContent === text) region.textContent = "";
  region.textContent = text;
}

/** Puts focus on the heading of what has just appeared, so that reading goes on there. */
export function focusHeading() {
  const heading = document.querySelector("main h1");
  if (heading instanceof HTMLElement) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/**
 * Asks before something that can't be undone.
 * @param {{ title: string, body: Child | Child[], yes: string, no: string, danger?: boolean, word?: { label: string, text: string } }} what
 * @returns {Promise<boolean>}
 */
export function confirmed(what) {
  return new Promise((resolve) => {
    const box = what.word && h("input", { autocomplete: "off", spellcheck: "false", oninput: () => { yes.disabled = box.value.trim() !== what.word?.text; } });
    const yes = h(what.danger ? "button.danger" : "button.main", { type: "button", disabled: Boolean(what.word), onclick: () => dialog.close("yes") }, what.yes);
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, what.title),
      what.body,
      what.word && h("label", what.word.label, box),
      h("div.row.stretch", h("button", { type: "button", autofocus: true, onclick: () => dialog.close("no") }, what.no), yes));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Lets a file be saved that the page made.
 * @param {string} name
 * @param {Blob} blob
 */
export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
