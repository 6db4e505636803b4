"""The same decision as it is commonly written: FastAPI, one SQLite read, a policy in JSON, a CBOR token
signed with Ed25519 (COSE_Sign1) and a hash-chained audit row, committed with synchronous=FULL before
the answer. No idempotency, no sealing to the generator, no log that others can check.

Run by uvicorn with DB=FILE; needs fastapi, uvicorn, cbor2 and pynacl."""

import hashlib
import json
import os
import sqlite3
import time
from pathlib import Path

import cbor2
from fastapi import FastAPI, Response
from nacl.signing import SigningKey

CAMEOS = 100_000
path = Path(os.environ["DB"])
for suffix in ("", "-wal", "-shm"):
    path.with_name(path.name + suffix).unlink(missing_ok=True)
db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE cameos (id TEXT PRIMARY KEY, embedding BLOB, policy TEXT)")
db.execute("CREATE TABLE audit (id INTEGER PRIMARY KEY, leaf BLOB, head BLOB)")
policy = json.dumps(
    {"state": "active", "generators": ["gen_1", "gen_2"], "purposes": ["social"], "until": 4_000_000_000}
)
db.execute("BEGIN")
rows = ((f"cameo_{n:08}", bytes(1024), policy) for n in range(CAMEOS))
db.executemany("INSERT INTO cameos VALUES (?, ?, ?)", rows)
db.execute("COMMIT")

key = SigningKey.generate()
protected = cbor2.dumps({1: -8})
head = bytes(32)
app = FastAPI()


@app.get("/resolve/{cameo}")
async def resolve(cameo: str, generator: str = "gen_1", purpose: str = "social"):
    global head
    row = db.execute("SELECT embedding, policy FROM cameos WHERE id = ?", (cameo,)).fetchone()
    if row is None:
        return Response(status_code=404)
    embedding, rules = row[0], json.loads(row[1])
    now = int(time.time())
    if (
        rules["state"] != "active"
        or generator not in rules["generators"]
        or purpose not in rules["purposes"]
        or rules["until"] < now
    ):
        return Response(status_code=403)
    claims = cbor2.dumps({1: "https://peer.example", 2: cameo, 3: generator, 4: now + 300, -70001: embedding})
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", claims])).signature
    token = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, claims, signature]))
    leaf = cbor2.dumps([cameo, generator, purpose, hashlib.sha256(token).digest()])
    head = hashlib.sha256(b"\x01" + head + hashlib.sha256(b"\x00" + leaf).digest()).digest()
    db.execute("INSERT INTO audit (leaf, head) VALUES (?, ?)", (leaf, head))
    return Response(token, media_type="application/cose")
