// The proofs as the browser verifies them, against the definitions of RFC 9162 §2.1 written down
// plainly: every inclusion and consistency proof of every tree of up to 40 entries, and forged ones.

import { continues, leafHash, rootOfInclusion, same, Tree } from "../../web/audit/merkle.js";

const hash = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", Buffer.concat(parts)));
const node = (left, right) => hash(new Uint8Array([1]), left, right);
const split = (n) => 2 ** (Math.ceil(Math.log2(n)) - 1);

async function root(d) {
  if (d.length === 0) return hash();
  return d.length === 1 ? d[0] : node(await root(d.slice(0, split(d.length))), await root(d.slice(split(d.length))));
}

async function inclusion(m, d) {
  if (d.length === 1) return [];
  const k = split(d.length);
  return m < k ? [...(await inclusion(m, d.slice(0, k))), await root(d.slice(k))] : [...(await inclusion(m - k, d.slice(k))), await root(d.slice(0, k))];
}

async function consistency(m, d, whole = true) {
  if (m === d.length) return whole ? [] : [await root(d)];
  const k = split(d.length);
  return m <= k ? [...(await consistency(m, d.slice(0, k), whole)), await root(d.slice(k))] : [...(await consistency(m - k, d.slice(k), false)), await root(d.slice(0, k))];
}

const forged = (proof, at) => proof.map((p, i) => (i === at ? p.map((b, j) => (j === 0 ? b ^ 1 : b)) : p));
const check = (holds, what) => {
  if (!holds) throw new Error(what);
  checked += 1;
};
let checked = 0;

const leaves = await Promise.all(Array.from({ length: 40 }, (_, i) => leafHash(new TextEncoder().encode(`entry ${i}`))));
for (let size = 1; size <= leaves.length; size++) {
  const d = leaves.slice(0, size);
  const head = await root(d);
  const tree = new Tree();
  for (const leaf of d) await tree.add(leaf);
  check(same(await tree.root(), head), `the root of ${size}`);
  for (let i = 0; i < size; i++) {
    const proof = await inclusion(i, d);
    check(same(await rootOfInclusion(d[i], i, size, proof), head), `${i} in ${size}`);
    for (const at of proof.keys()) check(!same(await rootOfInclusion(d[i], i, size, forged(proof, at)), head), `forged ${i} in ${size}`);
    const wrong = await rootOfInclusion(d[i], i, size, [...proof, head]).catch(() => null);
    check(wrong === null || !same(wrong, head), `a longer proof of ${i} in ${size}`);
  }
  for (let old = 1; old <= size; old++) {
    const [before, proof] = [await root(d.slice(0, old)), await consistency(old, d)];
    check(await continues(old, before, size, head, proof), `${old} to ${size}`);
    for (const at of proof.keys()) check(!(await continues(old, before, size, head, forged(proof, at))), `forged ${old} to ${size}`);
    if (old < size) check(!(await continues(old, head, size, head, proof)), `another past of ${old} to ${size}`);
  }
}
console.log(`ok: merkle (${checked} proofs)`);
