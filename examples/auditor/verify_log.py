#!/usr/bin/env python3
"""Checks a transparency log from what it publishes, with nothing but Python's standard library.

Written from the specifications alone: RFC 6962 section 2.1 (Merkle trees), RFC 8032 (Ed25519),
RFC 8949 (CBOR), C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature and tlog-proof. It
shares no code with the service, so the two check each other.

    verify_log.py log PLACE KEY [--since CHECKPOINT] [--witness KEY]...
        PLACE is a folder of tiles or a URL prefix, KEY the log's verifier key
    verify_log.py proof FILE ENTRY KEY      a .tlog-proof, and a file with the entry's bytes
    verify_log.py vectors FILE              tests/vectors/log.json
    verify_log.py self-test                 the specifications' published examples

Exit code 0: it holds. 1: it does not, and the last line says what is wrong.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import urllib.error
import urllib.request


class Wrong(Exception):
    """Something does not hold."""


# --- Ed25519 (RFC 8032, section 5.1), on plain integers: slow, but a log has few signatures -------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_mul(s, p):
    q = (0, 1, 1, 0)
    while s:
        if s & 1:
            q = point_add(q, p)
        p = point_add(p, p)
        s >>= 1
    return q


def point_equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def point_decode(data):
    y = int.from_bytes(data, "little")
    x = recover_x(y & (2**255 - 1), y >> 255)
    if x is None:
        return None
    y &= 2**255 - 1
    return (x, y, 1, x * y % P)


GY = 4 * pow(5, P - 2, P) % P
GX = recover_x(GY, 0)
G = (GX, GY, 1, GX * GY % P)


def ed25519_verify(key, message, signature):
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = point_decode(key), point_decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    return point_equal(point_mul(s, G), point_add(r, point_mul(h, a)))


# --- Merkle trees (RFC 6962, section 2.1) ---------------------------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(n):
    """The largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


def tree_hash(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    row = list(leaves)
    # Equal to the recursive definition: pair up, and carry an odd one.
    while len(row) > 1:
        pairs = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = pairs + ([row[-1]] if len(row) % 2 else [])
    return row[0]


def root_from_path(leaf, index, size, path):
    """The root that an audit path leads to, by the definition of PATH (section 2.1.1)."""
    if index >= size:
        raise Wrong(f"index {index} is outside a tree of {size}")

    def climb(index, size, path):
        if size == 1:
            if path:
                raise Wrong("the inclusion proof is too long")
            return leaf
        if not path:
            raise Wrong("the inclusion proof is too short")
        k = split(size)
        if index < k:
            return node_hash(climb(index, k, path[:-1]), path[-1])
        return node_hash(path[-1], climb(index - k, size - k, path[:-1]))

    return climb(index, size, path)


def roots_from_consistency(old_size, size, old_root, proof):
    """Old and new root that a consistency proof leads to, by SUBPROOF (section 2.1.2)."""

    def climb(m, n, proof, whole):
        if m == n:
            if whole:
                if proof:
                    raise Wrong("the consistency proof is too long")
                return old_root, old_root
            if len(proof) != 1:
                raise Wrong("the consistency proof has a wrong length")
            return proof[0], proof[0]
        if not proof:
            raise Wrong("the consistency proof is too short")
        k = split(n)
        if m <= k:
            old, new = climb(m, k, proof[:-1], whole)
            return old, node_hash(new, proof[-1])
        old, new = climb(m - k, n - k, proof[:-1], False)
        return node_hash(proof[-1], old), node_hash(proof[-1], new)

    return climb(old_size, size, list(proof), True)


def check_consistency(old_size, old_root, size, root, proof):
    if old_size == 0:
        if proof or old_root != tree_hash([]):
            raise Wrong("a proof from the empty tree is empty")
        return
    if roots_from_consistency(old_size, size, old_root, proof) != (old_root, root):
        raise Wrong(f"the log of {size} entries does not continue the one of {old_size}")


# --- Signed notes, checkpoints, cosignatures ------------------------------------------------------

ED25519, COSIGNATURE = 1, 4


class Key:
    """A verifier key: <name>+<id>+<base64 of type and key>."""

    def __init__(self, text, kind=ED25519):
        name, _, rest = text.strip().partition("+")
        ident, _, data = rest.partition("+")
        data = base64.b64decode(data, validate=True)
        if not name or len(data) != 33 or data[0] != kind:
            raise Wrong(f"not a verifier key of type {kind}")
        self.name, self.key = name, data[1:]
        self.id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != ident:
            raise Wrong("the verifier key's id is not its own")


def open_note(note):
    """The note's text, and its signatures as (name, key id, signature)."""
    text = note.decode("utf-8")
    if any(ord(c) < 0x20 and c != "\n" for c in text):
        raise Wrong("a note has no control characters")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Wrong("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, data = line.split(" ")
        data = base64.b64decode(data, validate=True)
        if dash != "\u2014" or not name or "+" in name or len(data) < 5:
            raise Wrong("a signature line is malformed")
        signatures.append((name, data[:4], data[4:]))
    return (body + "\n").encode(), signatures


def signed_by(note, key):
    text, signatures = open_note(note)
    found = [s for name, ident, s in signatures if (name, ident) == (key.name, key.id)]
    if not found:
        raise Wrong(f"{key.name} did not sign it")
    if not all(ed25519_verify(key.key, text, s) for s in found):
        raise Wrong(f"the signature by {key.name} is false")
    return text


def checkpoint(note, key):
    """Origin, size and root of a checkpoint that the key signed."""
    lines = signed_by(note, key).decode().split("\n")
    if len(lines) < 4 or lines[-1] != "" or not lines[0] or not lines[1].isdigit():
        raise Wrong("not a checkpoint")
    if lines[1] != str(int(lines[1])):
        raise Wrong("the checkpoint's size has leading zeroes")
    root = base64.b64decode(lines[2], validate=True)
    if len(root) != 32 or lines[0] != key.name:
        raise Wrong("the checkpoint is not of this log")
    return lines[0], int(lines[1]), root


def cosigned(note, key):
    """When this witness cosigned."""
    text, signatures = open_note(note)
    for name, ident, data in signatures:
        if (name, ident) == (key.name, key.id) and len(data) == 72:
            at = int.from_bytes(data[:8], "big")
            message = f"cosignature/v1\ntime {at}\n".encode() + text
            if ed25519_verify(key.key, message, data[8:]):
                return at
            raise Wrong(f"the cosignature by {key.name} is false")
    raise Wrong(f"{key.name} did not cosign")


# --- Tiles (tlog-tiles) ---------------------------------------------------------------------------


def tile_path(level, index, width):
    digits = f"{index:03d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["x" + p for p in parts[:-1]] + parts[-1:])
    return f"tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


class Log:
    def __init__(self, place):
        self.place = place.rstrip("/")

    def get(self, path):
        if self.place.startswith(("http://", "https://")):
            try:
                with urllib.request.urlopen(f"{self.place}/{path}", timeout=30) as answer:
                    return answer.read(64 << 20)
            except urllib.error.HTTPError as e:
                if e.code == 404:
                    return None
                raise Wrong(f"{path}: the server answered {e.code}") from e
        try:
            with open(os.path.join(self.place, path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tile(self, level, index, size):
        """A tile's path, its width, and how wide what is there is: the full one may take its place."""
        per_hash = 1 if level == "entries" else 256**level
        width = min(256, size // per_hash - index * 256)
        path = tile_path(level, index, width)
        data, given = self.get(path), width
        if data is None and width < 256:
            data, given = self.get(tile_path(level, index, 256)), 256
        if data is None:
            raise Wrong(f"{path} is missing")
        return path, width, given, data

    def hashes(self, level, index, size):
        path, width, given, data = self.tile(level, index, size)
        if len(data) != 32 * given:
            raise Wrong(f"{path} is not {given} hashes")
        return path, [data[i : i + 32] for i in range(0, 32 * width, 32)]

    def entries(self, index, size):
        path, width, given, data = self.tile("entries", index, size)
        found, at = [], 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 2], "big")
            if at + 2 + length > len(data):
                raise Wrong(f"{path}: entry {index * 256 + len(found)} is cut off")
            found.append(data[at + 2 : at + 2 + length])
            at += 2 + length
        if len(found) != given:
            raise Wrong(f"{path} holds {len(found)} entries, not {given}")
        return path, found[:width]


def check_log(place, key, since=None, witnesses=()):
    log = Log(place)
    note = log.get("checkpoint")
    if note is None:
        raise Wrong("there is no checkpoint")
    origin, size, root = checkpoint(note, key)
    times = {w.name: cosigned(note, w) for w in witnesses}
    leaves, last = [], 0
    for index in range((size + 255) // 256):
        path, hashes = log.hashes(0, index, size)
        entries_path, entries = log.entries(index, size)
        for i, (entry, stored) in enumerate(zip(entries, hashes)):
            if leaf_hash(entry) != stored:
                raise Wrong(f"entry {index * 256 + i}: {entries_path} and {path} differ")
            last = check_entry(index * 256 + i, entry, last)
        leaves += hashes
    row, level = leaves, 1
    while len(row) >= 256:
        row = [tree_hash(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        for index in range((len(row) + 255) // 256):
            path, hashes = log.hashes(level, index, size)
            if hashes != row[index * 256 : index * 256 + 256]:
                raise Wrong(f"{path} does not hold the hashes of the tiles below it")
        level += 1
    if tree_hash(leaves) != root:
        raise Wrong("the entries do not lead to the checkpoint's root")
    if since is not None:
        _, old_size, old_root = checkpoint(since, key)
        if old_size > size or tree_hash(leaves[:old_size]) != old_root:
            raise Wrong(f"the log does not continue the kept checkpoint of {old_size} entries")
    return origin, size, times


# --- Entries (docs/log.cddl) ----------------------------------------------------------------------


def cbor(data, at=0):
    """One item of deterministic CBOR: unsigned, bytes, text, map. Returns (value, end)."""
    if at >= len(data):
        raise Wrong("CBOR is cut off")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        n = info
    elif info < 28:
        width = 1 << (info - 24)
        n, at = int.from_bytes(data[at : at + width], "big"), at + width
        if at > len(data) or n < (24 if width == 1 else 1 << (4 * width)):
            raise Wrong("CBOR: a number is not in its shortest form")
    else:
        raise Wrong("CBOR: no definite length")
    if major == 0:
        return n, at
    if major in (2, 3):
        if at + n > len(data):
            raise Wrong("CBOR is cut off")
        value = data[at : at + n]
        return (value if major == 2 else value.decode("utf-8")), at + n
    if major == 5:
        value, before = {}, None
        for _ in range(n):
            start = at
            k, at = cbor(data, at)
            if before is not None and data[start:at] <= before:
                raise Wrong("CBOR: keys are not in order")
            before = data[start:at]
            value[k], at = cbor(data, at)
        return value, at
    raise Wrong(f"CBOR: an entry has no items of major type {major}")


def check_entry(index, entry, last):
    """Checks the form of an entry; returns the latest time so far."""
    try:
        value, end = cbor(entry)
    except (Wrong, UnicodeDecodeError) as e:
        raise Wrong(f"entry {index}: {e}") from e
    good = (
        end == len(entry)
        and isinstance(value, dict)
        and set(value) == {1, 2, 3, 4, 5}
        and value[1] == 1
        and all(isinstance(value[k], int) for k in (2, 3))
        and all(len(h) == 32 for h in value[5].values())
    )
    if not good:
        raise Wrong(f"entry {index} is not an entry of version 1")
    if value[3] + 60_000 < last:
        raise Wrong(f"entry {index} is back-dated")
    return max(last, value[3])


def commitment(label, salt, body):
    return hashlib.sha256(
        b"cameo.log.commitment.v1\x00" + bytes([len(label)]) + label.encode() + salt + body
    ).digest()


# --- Proof files (tlog-proof) ---------------------------------------------------------------------


def check_proof_file(data, entry, key):
    head, blank, note = data.decode().partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Wrong("not a tlog-proof")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)
    word, _, index = lines.pop(0).partition(" ")
    if word != "index" or not index.isdigit() or index != str(int(index)):
        raise Wrong("the proof has no index")
    path = [base64.b64decode(line, validate=True) for line in lines]
    _, size, root = checkpoint(note.encode(), key)
    if root_from_path(leaf_hash(entry), int(index), size, path) != root:
        raise Wrong("the proof does not lead to the checkpoint's root")
    return int(index), size


# --- Vectors and published examples ---------------------------------------------------------------


def check_vectors(path):
    with open(path, encoding="utf-8") as file:
        v = json.load(file)
    key = Key(v["verifier_key"])
    _, size, root = checkpoint(v["checkpoint"].encode(), key)
    leaves, last = [], 0
    for i, line in enumerate(v["entries"]):
        entry = bytes.fromhex(line["entry"])
        last = check_entry(i, entry, last)
        leaves.append(leaf_hash(entry))
        if leaves[-1].hex() != line["leaf_hash"] or tree_hash(leaves).hex() != line["root"]:
            raise Wrong(f"vector: entry {i}")
    if (size, root) != (len(leaves), tree_hash(leaves)):
        raise Wrong("vector: checkpoint")
    for case in v["inclusion"]:
        path = [bytes.fromhex(h) for h in case["proof"]]
        n, i = case["size"], case["index"]
        if root_from_path(leaves[i], i, n, path) != tree_hash(leaves[:n]):
            raise Wrong(f"vector: inclusion of {i} in {n}")
    for case in v["consistency"]:
        old, new = case["old"], case["new"]
        proof = [bytes.fromhex(h) for h in case["proof"]]
        check_consistency(old, tree_hash(leaves[:old]), new, tree_hash(leaves[:new]), proof)
    c = v["commitment"]
    made = commitment(c["label"], bytes.fromhex(c["salt"]), c["body"].encode())
    if made.hex() != c["value"]:
        raise Wrong("vector: commitment")
    for tile in v.get("tiles", []):
        if tile_path(tile["level"], tile["index"], tile["width"]) != tile["path"]:
            raise Wrong(f"vector: {tile['path']}")
    if "cosigned" in v:
        cosigned(v["cosigned"].encode(), Key(v["witness_key"], COSIGNATURE))
    if "proof_file" in v:
        entry = bytes.fromhex(v["entries"][v["proof_index"]]["entry"])
        check_proof_file(v["proof_file"].encode(), entry, key)
    return len(leaves)


def self_test():
    # RFC 8032, section 7.1, test 2.
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519_verify(key, b"\x72", signature)
    assert not ed25519_verify(key, b"\x73", signature)
    # The example in the documentation of Go's note package, where signed notes come from.
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n\u2014 PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    peter = Key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    signed_by(note.encode(), peter)
    # tlog-tiles' own examples.
    assert tile_path(3, 1234067, 256) == "tile/3/x001/x234/067"
    assert tile_path(0, 273, 112) == "tile/0/273.p/112"
    # The Certificate Transparency project's reference tree.
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
            "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(d)) for d in data]
    root = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert tree_hash(leaves).hex() == root
    path = ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]
    assert root_from_path(leaves[0], 0, 8, [bytes.fromhex(h) for h in path]).hex() == root


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log")
    log.add_argument("place")
    log.add_argument("key")
    log.add_argument("--since")
    log.add_argument("--witness", action="append", default=[])
    proof = commands.add_parser("proof")
    proof.add_argument("file")
    proof.add_argument("entry")
    proof.add_argument("key")
    vectors = commands.add_parser("vectors")
    vectors.add_argument("file")
    commands.add_parser("self-test")
    args = parser.parse_args()
    read = lambda path: open(path, "rb").read()
    try:
        if args.command == "log":
            witnesses = [Key(w, COSIGNATURE) for w in args.witness]
            since = read(args.since) if args.since else None
            origin, size, times = check_log(args.place, Key(args.key), since, witnesses)
            cosigners = "".join(f", cosigned by {name} at {at}" for name, at in times.items())
            print(f"{origin} holds: {size} entries{cosigners}")
        elif args.command == "proof":
            index, size = check_proof_file(read(args.file), read(args.entry), Key(args.key))
            print(f"entry {index} is in the log of {size} entries")
        elif args.command == "vectors":
            print(f"{check_vectors(args.file)} entries and everything about them hold")
        else:
            self_test()
            print("the published examples hold")
    except (Wrong, ValueError, TypeError, AttributeError, KeyError, RecursionError) as e:
        print(f"it does not hold: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
