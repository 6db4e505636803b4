#!/usr/bin/env python3
"""Reads a Parquet export of the log, and checks each entry's proof against the export's checkpoint.

    pip install -r requirements.txt
    python read_export.py log.parquet

It shows how to work with an export; it does not check the log's signature on the manifest and on
the checkpoint. `cameo audit verify --bundle log.parquet --log-key KEY` does all of it.
"""

import base64
import hashlib
import json
import sys

import pyarrow.parquet as pq


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(index, size, leaf, proof):
    """RFC 9162, section 2.1.3.2."""
    fn, sn, hash_ = index, size - 1, leaf
    for sibling in proof:
        assert sn > 0, "the proof is too long"
        if fn & 1 or fn == sn:
            hash_ = node(sibling, hash_)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash_ = node(hash_, sibling)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0, "the proof is too short"
    return hash_


def main(path):
    table = pq.ParquetFile(path)
    last = json.loads(table.metadata.metadata[b"cameo.manifest"])
    size, root = last["checkpoint"].split("\n")[1:3]
    size, root = int(size), base64.b64decode(root)
    manifest = dict(line.split(" ", 1) for line in last["manifest"].split("\n")[1:5])
    rows = 0
    for batch in table.iter_batches():
        for row in batch.to_pylist():
            leaf = hashlib.sha256(b"\x00" + row["entry"]).digest()
            proof = [row["proof"][i : i + 32] for i in range(0, len(row["proof"]), 32)]
            assert root_of(row["index"], size, leaf, proof) == root, row["index"]
            assert row["time"].tzinfo is not None and row["kind"]
            json.loads(row["attributes"]), json.loads(row["commitments"])
            rows += 1
    assert rows == int(manifest["entries"]) == table.metadata.num_rows
    with open(path, "rb") as file:
        content = file.read()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    assert hashlib.sha256(content[:-footer]).hexdigest() == manifest["sha256"]
    print(f"{rows} entries, each in the tree of {size} entries")


if __name__ == "__main__":
    main(sys.argv[1])
