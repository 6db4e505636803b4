// Audit: the log, read and verified in this browser.

import { call, get, Problem } from "../lib/api.js";
import { announce, byId, focusHeading, h, put, save } from "../lib/dom.js";
import { load, number, t, time } from "../lib/i18n.js";
import { signIn } from "../lib/signin.js";
import { charts } from "./charts.js";
import { KINDS, meaning, read } from "./entry.js";
import * as merkle from "./merkle.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./merkle.js").Checkpoint} Checkpoint */

/** Entries that are loaded at first, and at a time after that. */
const PAGE = 500;
/** The most that the service gives in one answer. */
const MOST = 1000;
/** Rows that are drawn at a time. */
const ROWS = 50;

/** @type {Entry[]} what is loaded, in order of the log */
let entries = [];
/** @type {Checkpoint} */
let checkpoint;
let checkpointText = "";
/** @type {import("./merkle.js").LogKey} */
let logKey;
let rows = ROWS;
/** @type {Record<string, string>} */
const filter = { kind: "", text: "", from: "", to: "" };

async function begin() {
  await refresh();
  entries = await entriesOf(Math.max(0, checkpoint.size - PAGE), checkpoint.size);
  await draw();
  focusHeading();
}

async function refresh() {
  const text = async (/** @type {string} */ path) => (await call("GET", path, { headers: { accept: "text/plain" } })).text();
  const [note, key] = await Promise.all([text("/v1/audit/checkpoint"), text("/.well-known/log-key")]);
  [checkpointText, checkpoint, logKey] = [note, merkle.parseCheckpoint(note), await merkle.parseKey(key)];
}

/** Entries `from` to `to`. @param {number} from @param {number} to @param {(done: number) => void} [progress] */
async function entriesOf(from, to, progress) {
  /** @type {Entry[]} */
  const found = [];
  while (from + found.length < to) {
    const start = from + found.length;
    const page = await get(`/v1/audit/entries?from=${start}&limit=${Math.min(MOST, to - start)}`);
    if (page.entries.length === 0) throw new Error(t("audit.missing", { index: start }));
    for (const e of page.entries) found.push(read(e.index, merkle.fromBase64(e.entry)));
    progress?.(found.length);
  }
  return found;
}

async function draw() {
  const signed = await merkle.signedBy(checkpoint, logKey);
  put(byId("main"),
    h("h1", t("audit.title")), h("p.lede", t("audit.lede")),
    h("div.top", head(signed), proofs()),
    history(),
    h("section", { "aria-labelledby": "sums" }, h("div.row.spread", h("h2", { id: "sums" }, t("audit.chart.title")), h("p.small.soft", { id: "sums-of" }, range())), h("div", { id: "charts" }, charts(entries))),
    h("section.card", { "aria-labelledby": "entries" }, h("div.row.spread", h("h2", { id: "entries" }, t("audit.entries")), h("button.slim", { type: "button", onclick: exported }, t("audit.export"))), filters(), h("div", { id: "list" })));
  list();
}

function range() {
  if (!entries.length) return t("audit.chart.none");
  return t("audit.range", { from: number(entries[0].index), to: number(entries[entries.length - 1].index) });
}

/** The signed head. @param {boolean | null} signed */
function head(signed) {
  const tag = signed === null ? h("span.tag.warn", t("audit.head.cannot")) : signed ? h("span.tag.good", t("audit.head.good")) : h("span.tag.bad", t("audit.head.bad"));
  const others = checkpoint.signatures.filter((s) => s.id !== logKey.id);
  const mine = h("input", { id: "my-key", autocomplete: "off", spellcheck: "false", placeholder: `${logKey.origin}+…`, oninput: () => {
    const given = mine.value.trim();
    put(answer, !given ? "" : given === logKey.text ? h("span.tag.good", t("audit.head.sameKey")) : h("span.tag.bad", t("audit.head.otherKey")));
  } });
  const answer = h("p", { "aria-live": "polite" });
  return h("section.card", { "aria-labelledby": "head" }, h("h2", { id: "head" }, t("audit.head.title")),
    h("dl.facts", h("dt", t("audit.head.origin")), h("dd.mono", checkpoint.origin), h("dt", t("audit.head.size")), h("dd.num", number(checkpoint.size)),
      h("dt", t("audit.head.root")), h("dd.mono.wrap", merkle.toHex(checkpoint.root)), h("dt", t("audit.head.signature")), h("dd", tag),
      h("dt", t("audit.head.witnesses")), h("dd", others.length ? others.map((s) => h("div.mono", s.name)) : t("audit.head.noWitness"))),
    h("details", h("summary", t("audit.head.trust")), h("p.small", t("audit.head.trustHint")), h("p.mono.wrap.small", logKey.text), h("label", { for: "my-key" }, t("audit.head.mine")), mine, answer),
    h("button.slim", { type: "button", onclick: () => save(`checkpoint-${checkpoint.size}.txt`, new Blob([checkpointText], { type: "text/plain" })) }, t("audit.head.keep")));
}

/** Verifying the whole log, and that it continues an earlier one. */
function proofs() {
  const result = h("div.result", { role: "status" });
  const all = h("button.main", { type: "button", id: "verify-all", onclick: () => verifyAll(all, result) }, t("audit.verify.all"));
  const old = h("textarea.mono", { id: "old", rows: 4, spellcheck: "false", autocomplete: "off" });
  const later = h("div.result", { role: "status" });
  return h("section.card", { "aria-labelledby": "verify" }, h("h2", { id: "verify" }, t("audit.verify.title")), h("p", t("audit.verify.hint")), h("div.row.stretch", all), result,
    h("details", h("summary", t("audit.verify.old")), h("label", { for: "old" }, t("audit.verify.oldLabel")), old, h("div.row.after", h("button", { type: "button", onclick: () => verifyOld(old.value, later) }, t("audit.verify.oldGo"))), later));
}

/** What was published so far, and which witnesses cosigned it. Loaded when it is opened. */
function history() {
  const body = h("div");
  const details = h("details.card", { id: "history" }, h("summary", t("audit.history.title")), h("p.small", t("audit.history.hint")), body);
  details.addEventListener("toggle", () => details.open && !body.firstChild && void published(body, ""));
  return details;
}

/** A page of it. @param {Element} place @param {string} before */
async function published(place, before) {
  const { checkpoints, next } = await get(`/v1/audit/checkpoints?limit=20${before}`);
  if (!checkpoints.length && !before) return put(place, h("p.empty", t("audit.history.none")));
  const lines = await Promise.all(checkpoints.map(async (/** @type {any} */ c) => {
    const note = merkle.parseCheckpoint(c.note);
    const signed = await merkle.signedBy(note, logKey);
    const witnesses = note.signatures.filter((s) => s.id !== logKey.id);
    return h("tr", h("th.num", { scope: "row" }, number(note.size)), h("td", time(c.at)),
      h("td", signed === null ? h("span.tag.warn", t("audit.head.cannot")) : signed ? h("span.tag.good", t("audit.head.good")) : h("span.tag.bad", t("audit.head.bad"))),
      h("td", witnesses.length ? witnesses.map((w) => h("div.mono.small", w.name, " ", cosigned(w))) : h("span.soft", t("audit.head.noWitness"))),
      h("td", h("button.slim", { type: "button", "aria-label": t("audit.history.keepOf", { size: number(note.size) }), onclick: () => save(`checkpoint-${note.size}.txt`, new Blob([c.note], { type: "text/plain" })) }, t("audit.history.keep"))));
  }));
  const more = h("div.row.after");
  place.append(h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("audit.history.title") }, h("table",
    h("thead", h("tr", ["size", "at", "signature", "witnesses"].map((c) => h("th", { scope: "col" }, t(`audit.history.${c}`))), h("th", { scope: "col" }, h("span.visually-hidden", t("audit.history.keep"))))),
    h("tbody", lines))), more);
  if (next !== null) put(more, h("button", { type: "button", onclick: () => (more.remove(), published(place, `&before=${next}`)) }, t("audit.history.older")));
}

/** When a witness cosigned: the first eight bytes say it (C2SP tlog-cosignature). @param {{ signature: Uint8Array }} w */
function cosigned({ signature }) {
  if (signature.length !== 72) return "";
  const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
  return h("span.soft", time(Number(seconds) * 1000));
}

/** @param {HTMLButtonElement} button @param {Element} result */
async function verifyAll(button, result) {
  button.disabled = true;
  const bar = h("progress", { max: Math.max(1, checkpoint.size), value: 0, "aria-label": t("audit.verify.all") });
  put(result, bar);
  try {
    await refresh();
    const tree = new merkle.Tree();
    const loaded = await entriesOf(0, checkpoint.size, (n) => (bar.value = n / 2));
    for (const e of loaded) {
      await tree.add(await merkle.leafHash(e.bytes));
      bar.value = checkpoint.size / 2 + tree.size / 2;
    }
    const held = merkle.same(await tree.root(), checkpoint.root);
    const signed = await merkle.signedBy(checkpoint, logKey);
    entries = loaded;
    put(byId("charts"), charts(entries));
    put(byId("sums-of"), range());
    list();
    say(result, held && signed !== false, held ? t(signed === null ? "audit.verify.rootOnly" : signed ? "audit.verify.good" : "audit.verify.unsigned", { size: number(checkpoint.size) }) : t("audit.verify.bad", { size: number(checkpoint.size) }));
  } catch (e) {
    if (e instanceof Problem && e.status === 401) throw e;
    say(result, false, String(/** @type {Error} */ (e).message));
  } finally {
    button.disabled = false;
  }
}

/** @param {string} text @param {Element} result */
async function verifyOld(text, result) {
  try {
    const old = merkle.parseCheckpoint(text.trim().replace(/\r\n/g, "\n") + "\n");
    if ((await merkle.signedBy(old, logKey)) === false) return say(result, false, t("audit.verify.oldUnsigned"));
    const proof = await get(`/v1/audit/proofs/consistency/${old.size}`);
    const now = await checkpointOf(proof.size);
    const held = merkle.same(merkle.fromHex(proof.root), now.root) && (await merkle.continues(old.size, old.root, proof.size, now.root, proof.proof.map(merkle.fromHex)));
    say(result, held, t(held ? "audit.verify.oldGood" : "audit.verify.oldBad", { old: number(old.size), size: number(proof.size) }));
  } catch (e) {
    if (e instanceof Problem && e.status === 401) throw e;
    say(result, false, String(/** @type {Error} */ (e).message));
  }
}

/** The signed head of this size: the log may have grown between two questions. @param {number} size */
async function checkpointOf(size) {
  for (let tries = 0; checkpoint.size !== size && tries < 3; tries++) await refresh();
  if (checkpoint.size !== size) throw new Error(t("audit.verify.moving"));
  if ((await merkle.signedBy(checkpoint, logKey)) === false) throw new Error(t("audit.verify.unsigned", { size }));
  return checkpoint;
}

/** @param {Element} place @param {boolean} good @param {string} text */
function say(place, good, text) {
  put(place, h(good ? "p.note.good" : "p.note.bad", text));
}

function filters() {
  const field = (/** @type {string} */ name, /** @type {any} */ input) => h("div", h("label", { for: `f-${name}` }, t(`audit.filter.${name}`)), input);
  const on = (/** @type {string} */ name) => ({ id: `f-${name}`, value: filter[name], oninput: (/** @type {any} */ e) => { filter[name] = e.target.value; rows = ROWS; list(); } });
  return h("div.filters",
    field("kind", h("select", on("kind"), h("option", { value: "" }, t("audit.filter.all")), Object.values(KINDS).map((k) => h("option", { value: k, selected: filter.kind === k }, t(`kind.${k}`))))),
    field("text", h("input", { type: "search", spellcheck: "false", ...on("text") })),
    field("from", h("input", { type: "date", ...on("from") })),
    field("to", h("input", { type: "date", ...on("to") })));
}

/** @returns {Entry[]} the newest first */
function chosen() {
  const [from, to] = [filter.from ? Date.parse(`${filter.from}T00:00:00`) : -Infinity, filter.to ? Date.parse(`${filter.to}T23:59:59.999`) : Infinity];
  const text = filter.text.trim().toLowerCase();
  return entries.filter((e) => (!filter.kind || e.kind === filter.kind) && e.at >= from && e.at <= to && (!text || Object.entries(e.attributes).some(([k, v]) => `${k}=${v}`.toLowerCase().includes(text)) || String(e.index) === text)).reverse();
}

function list() {
  const found = chosen();
  const first = entries[0]?.index ?? 0;
  put(byId("list"),
    h("p.small.soft", { role: "status" }, t("audit.found", { shown: number(Math.min(rows, found.length)), found: number(found.length), loaded: number(entries.length), size: number(checkpoint.size) })),
    found.length === 0 ? h("p.empty", t("audit.none")) : h("ol.entries", found.slice(0, rows).map(item)),
    h("div.row.stretch",
      found.length > rows ? h("button", { type: "button", onclick: () => { rows += ROWS; list(); } }, t("audit.moreRows")) : null,
      first > 0 ? h("button", { type: "button", onclick: older }, t("audit.older", { count: number(Math.min(PAGE, first)) })) : null));
}

async function older() {
  const first = entries[0].index;
  entries = [...(await entriesOf(Math.max(0, first - PAGE), first)), ...entries];
  put(byId("charts"), charts(entries));
  put(byId("sums-of"), range());
  list();
}

/** @param {Entry} e */
function item(e) {
  const body = h("div.detail");
  const details = h("details", h("summary", h("span.num.index", `#${e.index}`), h("span.tag", t(`kind.${e.kind}`)), h("span.says", meaning(e)), h("time.small.soft", { datetime: new Date(e.at).toISOString() }, time(e.at))), body);
  details.addEventListener("toggle", () => details.open && !body.firstChild && put(body, detail(e)));
  return h("li", details);
}

/** @param {Entry} e */
function detail(e) {
  const result = h("div.result", { role: "status" });
  const facts = (/** @type {[string, any][]} */ pairs) => h("dl.facts", pairs.map(([k, v]) => [h("dt.mono", k), h("dd.mono.wrap", String(v))]));
  return [
    h("h3", t("audit.entry.public")), facts(Object.entries(e.attributes)),
    Object.keys(e.commitments).length ? [h("h3", t("audit.entry.committed")), h("p.small.soft", t("audit.entry.committedHint")), facts(Object.entries(e.commitments).map(([k, v]) => [k, merkle.toHex(v)]))] : null,
    h("button.slim", { type: "button", onclick: () => verifyEntry(e, result) }, t("audit.entry.verify")), result,
  ];
}

/** @param {Entry} e @param {Element} result */
async function verifyEntry(e, result) {
  try {
    const proof = await get(`/v1/audit/proofs/inclusion/${e.index}`);
    const now = await checkpointOf(proof.size);
    const leaf = await merkle.leafHash(e.bytes);
    const root = await merkle.rootOfInclusion(leaf, e.index, proof.size, proof.proof.map(merkle.fromHex));
    const held = merkle.same(root, now.root);
    const signed = await merkle.signedBy(now, logKey);
    put(result, h(held ? "div.note.good" : "div.note.bad", h("p", t(held ? "audit.entry.held" : "audit.entry.broken", { index: e.index, size: number(proof.size) })),
      h("ol.small", h("li", t("audit.entry.step1"), " ", h("code.wrap", merkle.toHex(leaf))), h("li", t("audit.entry.step2", { count: proof.proof.length }), " ", h("code.wrap", merkle.toHex(root))), h("li", t(held ? "audit.entry.step3" : "audit.entry.step3Bad")), h("li", t(signed === null ? "audit.head.cannot" : signed ? "audit.entry.step4" : "audit.head.bad")))));
    announce(t(held ? "audit.entry.held" : "audit.entry.broken", { index: e.index, size: proof.size }));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) throw error;
    say(result, false, String(/** @type {Error} */ (error).message));
  }
}

/** What is filtered, a JSON object a line, with the bytes to verify it by. */
function exported() {
  const lines = chosen().reverse().map((e) => JSON.stringify({ index: e.index, time: new Date(e.at).toISOString(), kind: e.kind, attributes: e.attributes, entry: btoa(String.fromCharCode(...e.bytes)) }));
  save("cameo-log.ndjson", new Blob([lines.join("\n") + "\n"], { type: "application/x-ndjson" }));
}

addEventListener("unhandledrejection", (event) => {
  event.preventDefault(); // told here
  failed(event.reason);
});

/** @param {unknown} e */
function failed(e) {
  if (e instanceof Problem && e.status === 401) return void signIn("auditor", () => begin().catch(failed));
  const text = e instanceof Problem && e.status === 0 ? t("common.offline") : String(/** @type {Error} */ (e).message ?? t("common.broken"));
  byId("main").append(h("p.note.bad", { role: "alert" }, text));
}

await load();
document.title = `${t("audit.title")} · Cameo`;
signIn("auditor", () => void begin().catch(failed)).catch(failed);
