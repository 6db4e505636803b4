// Log entries: their bytes (docs/log.cddl) and what they mean.

import { has, t } from "../lib/i18n.js";

/** The kinds by number, as the service wrote them into the page: `1:consent_given …`. @type {Record<number, string>} */
export const KINDS = Object.fromEntries((document.querySelector("main")?.dataset.kinds ?? "").split(" ").map((pair) => pair.split(":")));

/**
 * @typedef {{ index: number, bytes: Uint8Array, kind: string, at: number, attributes: Record<string, string | number>, commitments: Record<string, Uint8Array> }} Entry
 */

/**
 * Reads an entry. One that can't be read is still an entry: its bytes count, whatever they say.
 * @param {number} index
 * @param {Uint8Array} bytes
 * @returns {Entry}
 */
export function read(index, bytes) {
  try {
    return decode(index, bytes);
  } catch {
    return { index, bytes, kind: "unreadable", at: 0, attributes: {}, commitments: {} };
  }
}

/** @param {number} index @param {Uint8Array} bytes @returns {Entry} */
function decode(index, bytes) {
  const map = new Reader(bytes).whole();
  if (!(map instanceof Map) || map.get(1) !== 1) throw new Error("an entry of another version");
  const kind = KINDS[map.get(2)] ?? `kind_${map.get(2)}`;
  return { index, bytes, kind, at: map.get(3), attributes: Object.fromEntries(map.get(4)), commitments: Object.fromEntries(map.get(5)) };
}

/** Just the CBOR (RFC 8949) that entries are made of: numbers, texts, bytes, maps. */
class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = 0;
  }

  whole() {
    const value = this.value(0);
    if (this.at !== this.bytes.length) throw new Error("bytes after the entry");
    return value;
  }

  /** @param {number} depth @returns {any} */
  value(depth) {
    if (depth > 3) throw new Error("nested too deep");
    const first = this.view.getUint8(this.at++);
    const [major, length] = [first >> 5, this.argument(first & 31)];
    if (major === 0) return length;
    if (major === 2) return this.take(length);
    if (major === 3) return new TextDecoder("utf-8", { fatal: true }).decode(this.take(length));
    if (major === 5 && length <= 32) {
      const map = new Map();
      for (let i = 0; i < length; i++) map.set(this.value(depth + 1), this.value(depth + 1));
      return map;
    }
    throw new Error("not CBOR of an entry");
  }

  /** @param {number} short */
  argument(short) {
    const at = this.at;
    if (short < 24) return short;
    if (short === 24) return (this.at += 1, this.view.getUint8(at));
    if (short === 25) return (this.at += 2, this.view.getUint16(at));
    if (short === 26) return (this.at += 4, this.view.getUint32(at));
    if (short === 27) return (this.at += 8, Number(this.view.getBigUint64(at)));
    throw new Error("not CBOR of an entry");
  }

  /** @param {number} length */
  take(length) {
    if (length > this.bytes.length - this.at) throw new Error("the entry is cut off");
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }
}

/** What an entry says, in a sentence. @param {Entry} entry */
export function meaning({ kind, attributes: a }) {
  const word = (/** @type {string} */ group, /** @type {unknown} */ name) => (has(`${group}.${name}`) ? t(`${group}.${name}`) : has(`${group}.${name}.short`) ? t(`${group}.${name}.short`) : String(name ?? "–"));
  const slots = {
    outcome: word("outcome", a.outcome ?? a.decision ?? a.answer ?? a.state),
    purpose: word("purpose", a.purpose),
    rule: word("rule", a.rule),
    version: String(a.version ?? a.consent_version ?? "–"),
    role: word("role", a.role),
    action: word("action", a.action),
  };
  const path = kind !== "review" || a.action === "decide" ? `meaning.${kind}` : a.action === "inspect" ? "meaning.review_inspect" : "meaning.review_did";
  return has(path) ? t(path, slots) : t("meaning.other", { kind });
}
