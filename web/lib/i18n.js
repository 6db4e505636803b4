// The page's language: one file of texts, chosen by `?lang=`, then by what the page was made for,
// then by the browser.

const LANGUAGES = ["en", "de"];

/** @type {any} */
let texts = {};
/** @type {string} */
export let language = "en";

/**
 * Loads the texts and sets the document's language.
 * @param {string} [wanted] a BCP 47 tag that the app asked for
 */
export async function load(wanted) {
  const asked = new URLSearchParams(location.search).get("lang");
  const candidates = [asked, wanted, ...navigator.languages].filter(Boolean);
  const bases = candidates.map((tag) => String(tag).toLowerCase().split("-")[0]);
  language = bases.find((base) => LANGUAGES.includes(base)) ?? "en";
  texts = await (await fetch(new URL(`../lang/${language}.json`, import.meta.url))).json();
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(/** @type {HTMLElement} */ (element).dataset.t ?? "");
  }
}

/**
 * A text by its path, with `{slots}` filled.
 * @param {string} path
 * @param {Record<string, string | number>} [slots]
 * @returns {string}
 */
export function t(path, slots = {}) {
  const found = look(path);
  if (found === undefined) return path;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in slots ? String(slots[name]) : whole));
}

/** @param {string} path @returns {boolean} whether there is such a text */
export function has(path) {
  return look(path) !== undefined;
}

/** @param {string} path @returns {string | undefined} */
function look(path) {
  let at = texts;
  for (const part of path.split(".")) at = at?.[part];
  return typeof at === "string" ? at : undefined;
}

/** @param {string | number | Date} at */
export function time(at) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
}

/** @param {string | number | Date} at */
export function day(at) {
  return new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(new Date(at));
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export function number(value, options) {
  return new Intl.NumberFormat(language, options).format(value);
}

/** @param {string[]} items @param {"conjunction" | "disjunction"} [type] */
export function list(items, type = "conjunction") {
  return new Intl.ListFormat(language, { type }).format(items);
}

/** A length of time in the largest unit that fits. @param {number} seconds */
export function duration(seconds) {
  const [unit, size] = seconds >= 172_800 ? ["day", 86_400] : seconds >= 7200 ? ["hour", 3600] : seconds >= 120 ? ["minute", 60] : ["second", 1];
  return number(Math.ceil(seconds / Number(size)), { style: "unit", unit: String(unit), unitDisplay: "long" });
}
