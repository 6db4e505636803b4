// The log's proofs, verified in this browser: RFC 6962 / RFC 9162 hashing, C2SP checkpoints and
// signed notes. Nothing here asks the service; all it works with are the bytes it is given.

/** @typedef {{ origin: string, size: number, root: Uint8Array, body: string, signatures: { name: string, id: number, signature: Uint8Array }[] }} Checkpoint */
/** @typedef {{ origin: string, id: number, key: Uint8Array, text: string }} LogKey */

/** @param {...Uint8Array} parts @returns {Promise<Uint8Array>} */
async function sha256(...parts) {
  const all = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
}

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

/** @param {Uint8Array} entry RFC 9162 §2.1.1 */
export const leafHash = (entry) => sha256(LEAF, entry);
/** @param {Uint8Array} left @param {Uint8Array} right */
const nodeHash = (left, right) => sha256(NODE, left, right);

/** @param {Uint8Array} a @param {Uint8Array} b */
export function same(a, b) {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}

/** @param {string} hex */
export function fromHex(hex) {
  if (!/^([0-9a-f]{2})*$/.test(hex)) throw new Error("not hexadecimal");
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** @param {Uint8Array} bytes */
export function toHex(bytes) {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/**
 * The root of a tree that is built leaf by leaf.
 */
export class Tree {
  constructor() {
    /** @type {{ hash: Uint8Array, height: number }[]} perfect subtrees, the largest first */
    this.stack = [];
    this.size = 0;
  }

  /** @param {Uint8Array} leaf a leaf hash */
  async add(leaf) {
    let node = { hash: leaf, height: 0 };
    while (this.stack.at(-1)?.height === node.height) {
      const left = /** @type {{ hash: Uint8Array }} */ (this.stack.pop());
      node = { hash: await nodeHash(left.hash, node.hash), height: node.height + 1 };
    }
    this.stack.push(node);
    this.size += 1;
  }

  /** @returns {Promise<Uint8Array>} */
  async root() {
    if (this.stack.length === 0) return sha256(new Uint8Array());
    let hash = this.stack[this.stack.length - 1].hash;
    for (let i = this.stack.length - 2; i >= 0; i--) hash = await nodeHash(this.stack[i].hash, hash);
    return hash;
  }
}

/**
 * RFC 9162 §2.1.3.2: the root that an inclusion proof leads to.
 * @param {Uint8Array} leaf @param {number} index @param {number} size @param {Uint8Array[]} proof
 */
export async function rootOfInclusion(leaf, index, size, proof) {
  if (!(index >= 0 && index < size)) throw new Error("the entry is not in the tree");
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const p of proof) {
    if (sn === 0) throw new Error("the proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      hash = await nodeHash(p, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      hash = await nodeHash(hash, p);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  if (sn !== 0) throw new Error("the proof is too short");
  return hash;
}

/**
 * RFC 9162 §2.1.4.2: whether the tree of `size` continues that of `oldSize`.
 * @param {number} oldSize @param {Uint8Array} oldRoot @param {number} size @param {Uint8Array} root @param {Uint8Array[]} proof
 */
export async function continues(oldSize, oldRoot, size, root, proof) {
  if (oldSize > size) return false;
  if (oldSize === size) return proof.length === 0 && same(oldRoot, root);
  if (oldSize === 0) return proof.length === 0;
  const path = Number.isInteger(Math.log2(oldSize)) ? [oldRoot, ...proof] : [...proof];
  if (path.length === 0) return false;
  let [fn, sn] = [oldSize - 1, size - 1];
  while (fn % 2 === 1) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  let [fr, sr] = [path[0], path[0]];
  for (const c of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = await nodeHash(c, fr);
      sr = await nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      sr = await nodeHash(sr, c);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && same(fr, oldRoot) && same(sr, root);
}

/** Reads a checkpoint (C2SP tlog-checkpoint in a signed-note). @param {string} text @returns {Checkpoint} */
export function parseCheckpoint(text) {
  const end = text.indexOf("\n\n");
  if (end < 0) throw new Error("not a checkpoint");
  const body = text.slice(0, end + 1);
  const [origin, size, root] = body.split("\n");
  if (!origin || !/^(0|[1-9]\d{0,15})$/.test(size)) throw new Error("not a checkpoint");
  const signatures = text.slice(end + 2).split("\n").filter((l) => l.startsWith("— ")).map((line) => {
    const [, name, value] = line.split(" ");
    const bytes = fromBase64(value);
    return { name, id: new DataView(bytes.buffer).getUint32(0), signature: bytes.slice(4) };
  });
  return { origin, size: Number(size), root: fromBase64(root), body, signatures };
}

const ED25519 = 1;

/** Reads a verifier key, `<origin>+<id>+<base64>`, and checks that its id is its own. @param {string} text @returns {Promise<LogKey>} */
export async function parseKey(text) {
  const [, origin, id, value] = /^(.+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim()) ?? [];
  if (!origin) throw new Error("not a verifier key");
  const typed = fromBase64(value);
  if (typed[0] !== ED25519 || typed.length !== 33) throw new Error("not an Ed25519 key");
  const own = await sha256(new TextEncoder().encode(`${origin}\n`), typed);
  if (toHex(own.slice(0, 4)) !== id) throw new Error("the key does not have this id");
  return { origin, id: parseInt(id, 16), key: typed.slice(1), text: text.trim() };
}

/**
 * Whether this key signed this checkpoint of its own log.
 * @param {Checkpoint} checkpoint @param {LogKey} key
 * @returns {Promise<boolean | null>} `null` where this browser has no Ed25519
 */
export async function signedBy(checkpoint, key) {
  if (checkpoint.origin !== key.origin) return false;
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", new Uint8Array(key.key), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return null;
  }
  const message = new TextEncoder().encode(checkpoint.body);
  for (const s of checkpoint.signatures) {
    if (s.name === key.origin && s.id === key.id && (await crypto.subtle.verify({ name: "Ed25519" }, imported, new Uint8Array(s.signature), message))) return true;
  }
  return false;
}
