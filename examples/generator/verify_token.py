#!/usr/bin/env python3
"""Check a conditioning token the way a generator should, before it conditions on it.

    pip install -r requirements.txt
    python verify_token.py --keys https://cameo.example --audience gen_1 token.cbor
    python verify_token.py --keys cose-keys.cbor --issuer https://cameo.example --audience gen_1 token.cbor

Prints what the token allows and which vectors it carries (model, dimension, norm), never the
vectors themselves. Exit status: 0 accepted, 1 refused (the reason is printed), 2 wrong usage.
The format is described in docs/token.md. `--vectors FILE` runs the project's test vectors.
"""

import argparse
import hashlib
import json
import math
import struct
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE = "application/cameo-conditioning+cwt"
MAX_TOKEN = 1 << 20
MAX_KEY_SET = 64 << 10
MAX_DEPTH = 16
LEEWAY = 30
POSES = ("frontal", "left", "right", "up", "down")
METRICS = ("euclidean", "cosine")

# Private claims, see docs/token.cddl.
VERSION, CONSENT_VERSION, USE_ID, PURPOSE = -65537, -65538, -65539, -65540
REQUESTER, RESTRICTIONS, PAYLOAD = -65541, -65542, -65543


class Refused(Exception):
    """Why a token is not acceptable; `code` is the same as in the test vectors."""

    def __init__(self, code, text=""):
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("token", nargs="?", help="the token's file")
    parser.add_argument("--keys", help="the service's base URL, or a file with its COSE key set")
    parser.add_argument("--issuer", help="the issuer to trust (default: the base URL)")
    parser.add_argument("--audience", help="your own generator id")
    parser.add_argument("--now", type=int, help="check as of this time (seconds since 1970)")
    parser.add_argument("--vectors", help="run the test vectors in this file instead")
    args = parser.parse_args()
    if args.vectors:
        return run_vectors(args.vectors)
    from_url = (args.keys or "").startswith(("http://", "https://"))
    issuer = args.issuer or (args.keys.rstrip("/") if from_url else None)
    if not (args.token and args.keys and args.audience and issuer):
        parser.error("give a token, --keys, --audience, and --issuer where --keys is a file")
    now = int(time.time()) if args.now is None else args.now
    try:
        with open(args.token, "rb") as f:
            token = f.read(MAX_TOKEN + 1)
        keys = read_key_set(fetch_keys(args.keys) if from_url else open(args.keys, "rb").read())
        claims = verify(token, keys, issuer, args.audience, now)
    except Refused as refusal:
        print(f"refused: {refusal}")
        return 1
    except OSError as error:
        print(f"refused: {error}")
        return 1
    describe(claims)
    return 0


def fetch_keys(base):
    """The key set that the service publishes."""
    url = urllib.parse.urljoin(base.rstrip("/") + "/", ".well-known/cose-keys")
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read(MAX_KEY_SET + 1)


def read_key_set(data):
    """A COSE Key Set as {kid: public key}. Keys of other types are passed over."""
    keys = {}
    key_set = decode(data, MAX_KEY_SET)
    if not is_array(key_set) or not all(map(is_map, key_set)):
        raise Refused("malformed", "not a COSE Key Set")
    for key in key_set:
        if key.get(1) != 1 or key.get(-1) != 6 or key.get(3, -8) != -8:
            continue  # not OKP, Ed25519, EdDSA
        if not is_bytes(key.get(-2), 32):
            raise Refused("malformed", "a key's x is not 32 bytes")
        thumbprint = hashlib.sha256(encode({1: 1, -1: 6, -2: key[-2]})).digest()  # RFC 9679
        if key.get(2) != thumbprint[:8]:
            raise Refused("malformed", "a key's kid is not its thumbprint")
        keys[thumbprint[:8]] = Ed25519PublicKey.from_public_bytes(key[-2])
    return keys


def verify(token, keys, issuer, audience, now):
    """The claims of a token that holds. Raises Refused."""
    claims = check_claims(decode(open_envelope(token, keys), MAX_TOKEN))
    if claims[1] != issuer:
        raise Refused("wrong_issuer")
    if claims[3] != audience:
        raise Refused("wrong_audience")
    if claims[6] > now + LEEWAY:
        raise Refused("issued_in_future")
    if claims[5] > now + LEEWAY:
        raise Refused("not_yet_valid")
    if claims[4] <= now - LEEWAY:
        raise Refused("expired")
    return claims


def open_envelope(token, keys):
    """The payload of a COSE_Sign1 whose signature holds."""
    message = decode(token, MAX_TOKEN)
    if not isinstance(message, cbor2.CBORTag) or message.tag != 18:
        raise Refused("malformed", "not a COSE_Sign1")
    parts = message.value
    if not isinstance(parts, (list, tuple)) or len(parts) != 4:
        raise Refused("malformed", "not four parts")
    protected, unprotected, payload, signature = parts
    if not is_map(unprotected) or not all(
        isinstance(part, bytes) for part in (protected, payload, signature)
    ):
        raise Refused("malformed", "a part has a wrong type")
    if set(unprotected) - {394}:
        raise Refused("unprotected_header")
    header = decode(protected, MAX_TOKEN)
    if not is_map(header):
        raise Refused("malformed", "the protected header is not a map")
    if 2 in header:
        raise Refused("unknown_critical")
    if header.get(1) != -8:
        raise Refused("wrong_algorithm")
    if header.get(16) != TYPE:
        raise Refused("wrong_type")
    if 3 in header:
        raise Refused("wrong_content_type")
    kid = header.get(4)
    if not isinstance(kid, bytes) or len(kid) != 8:
        raise Refused("no_key_id")
    if kid not in keys:
        raise Refused("unknown_key", kid.hex())
    try:
        keys[kid].verify(signature, encode(["Signature1", protected, b"", payload]))
    except InvalidSignature:
        raise Refused("bad_signature") from None
    return payload


def check_claims(claims):
    """Types and bounds of the claims set."""
    require(is_map(claims), "claims")
    version = integer(take(claims, VERSION, "ver"), "ver")
    if version != 1:
        raise Refused("unknown_version", str(version))
    for key, name in ((1, "iss"), (2, "sub"), (3, "aud"), (USE_ID, "use_id"),
                      (PURPOSE, "purpose"), (REQUESTER, "requester")):
        text(take(claims, key, name), name, 256)
    exp, nbf, iat = (integer(take(claims, k, n), n) for k, n in ((4, "exp"), (5, "nbf"), (6, "iat")))
    require(iat <= nbf < exp <= iat + 86400, "exp")
    require(is_bytes(take(claims, 7, "cti"), 16), "cti")
    require(integer(take(claims, CONSENT_VERSION, "consent_version"), "consent_version") >= 0,
            "consent_version")
    restrictions = take(claims, RESTRICTIONS, "restrictions")
    require(is_array(restrictions) and len(restrictions) <= 32, "restrictions")
    for restriction in restrictions:
        text(restriction, "restrictions", 500)
    payload = take(claims, PAYLOAD, "payload")
    require(is_array(payload) and len(payload) == 2, "payload")
    if integer(payload[0], "payload") != 1:
        raise Refused("unknown_payload", str(payload[0]))
    check_identity(payload[1])
    return claims


def check_identity(identity):
    require(is_map(identity), "payload")
    model = check_model(take(identity, 1, "model"))
    faces = take(identity, 2, "embeddings")
    require(is_array(faces) and 1 <= len(faces) <= len(POSES), "embeddings")
    poses = []
    for face in faces:
        require(is_map(face), "embeddings")
        poses.append(take(face, 1, "pose"))
        check_vector(model, take(face, 2, "vector"), take(face, 3, "norm"))
        require(0 <= integer(take(face, 4, "quality"), "quality") <= 100, "quality")
        points = floats(take(face, 5, "keypoints"), "keypoints")
        require(len(points) == 10 and all(-1 <= v <= 2 for v in points), "keypoints")
        if 6 in face:
            require(is_array(face[6]) and len(face[6]) == 2, "frame")
            require(all(1 <= integer(side, "frame") <= 65535 for side in face[6]), "frame")
    require(all(pose in POSES for pose in poses) and len(set(poses)) == len(poses), "pose")
    if 3 in identity:
        voice = identity[3]
        require(is_map(voice), "voice")
        check_vector(check_model(take(voice, 1, "model")), take(voice, 2, "vector"), take(voice, 3, "norm"))
        require(integer(take(voice, 4, "speech_ms"), "speech_ms") >= 0, "speech_ms")


def check_model(model):
    require(is_map(model), "model")
    text(take(model, 1, "model"), "model", 256)
    require(is_bytes(take(model, 2, "model"), 32), "model")
    require(1 <= integer(take(model, 3, "dim"), "dim") <= 4096, "dim")
    require(take(model, 4, "metric") in METRICS, "metric")
    return model


def check_vector(model, value, norm):
    vector = floats(value, "vector")
    require(len(vector) == model[3], "vector")
    require(isinstance(norm, float) and math.isfinite(norm), "norm")
    require(all(map(math.isfinite, vector)), "vector")
    own = math.sqrt(sum(v * v for v in vector))
    require(own > 0 and abs(own - norm) <= 1e-3 * own, "norm")


def describe(claims):
    """What the token allows, without its biometric values."""
    identity = claims[PAYLOAD][1]
    model = identity[1]
    print("accepted")
    for name, key in (("cameo", 2), ("purpose", PURPOSE), ("use id", USE_ID),
                      ("requester", REQUESTER), ("consent version", CONSENT_VERSION)):
        print(f"  {name}: {claims[key]}")
    print(f"  expires: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(claims[4]))}")
    for restriction in claims[RESTRICTIONS]:
        print(f"  restriction: {restriction}")
    print(f"  face model: {model[1]}, {model[3]} dimensions, {model[4]}, sha256 {model[2].hex()}")
    for face in identity[2]:
        print(f"    {face[1]}: norm {face[3]:.4f}, quality {face[4]}")
    if 3 in identity:
        voice = identity[3]
        print(f"  voice model: {voice[1][1]}, {voice[1][3]} dimensions, norm {voice[3]:.4f}")


def decode(data, limit):
    """The one deterministically encoded CBOR item (RFC 8949, section 4.2.1) in `data`."""
    if len(data) > limit:
        raise Refused("too_large")
    end = skip(data, 0, 0)
    if end != len(data):
        raise Refused("trailing_bytes")
    try:
        value = cbor2.loads(data)
        again = encode(value)
    except (cbor2.CBORError, TypeError, ValueError, OverflowError):
        raise Refused("malformed", "not well-formed CBOR") from None
    if again != data:
        raise Refused("not_deterministic")
    return value


def skip(data, at, depth):
    """Where the item at `at` ends. Refuses what is cut, too deep, or has a map key twice."""
    if depth > MAX_DEPTH or at >= len(data):
        raise Refused("malformed", "not well-formed CBOR")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info == 31 and 2 <= major <= 5:
        raise Refused("not_deterministic", "indefinite length")
    if info > 27:
        raise Refused("malformed", "not well-formed CBOR")
    size = 0 if info < 24 else 1 << (info - 24)
    if at + size > len(data):
        raise Refused("malformed", "cut short")
    count = info if size == 0 else int.from_bytes(data[at:at + size], "big")
    at += size
    if major in (2, 3):
        at += count
    elif major in (4, 5):
        seen = set()
        if count > len(data) - at:
            raise Refused("malformed", "cut short")
        for _ in range(count):
            start, at = at, skip(data, at, depth + 1)
            if major == 5:
                if data[start:at] in seen:
                    raise Refused("duplicate_key")
                seen.add(data[start:at])
                at = skip(data, at, depth + 1)
    elif major == 6:
        at = skip(data, at, depth + 1)
    if at > len(data):
        raise Refused("malformed", "cut short")
    return at


def encode(value):
    return cbor2.dumps(value, canonical=True)


def take(fields, key, name):
    if key not in fields:
        raise Refused("missing_claim", name)
    return fields[key]


def require(condition, name):
    if not condition:
        raise Refused("invalid_claim", name)


def is_map(value):
    return isinstance(value, Mapping)  # cbor2 freezes maps inside tags


def is_array(value):
    return isinstance(value, (list, tuple))


def is_bytes(value, length):
    return isinstance(value, bytes) and len(value) == length


def integer(value, name):
    require(isinstance(value, int) and not isinstance(value, bool), name)
    return value


def text(value, name, limit):
    require(isinstance(value, str) and 1 <= len(value.encode()) <= limit, name)
    require(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value), name)


def floats(value, name):
    """A little-endian float32 typed array (RFC 8746)."""
    require(isinstance(value, cbor2.CBORTag) and value.tag == 85, name)
    require(isinstance(value.value, bytes) and len(value.value) % 4 == 0, name)
    return struct.unpack(f"<{len(value.value) // 4}f", value.value)


def run_vectors(path):
    with open(path, encoding="utf-8") as f:
        vectors = json.load(f)
    keys = read_key_set(bytes.fromhex(vectors["cose_key_set"]))
    wrong = 0
    for case in vectors["cases"]:
        try:
            verify(bytes.fromhex(case["token"]), keys, case["issuer"], case["audience"], case["now"])
            outcome = "ok"
        except Refused as refusal:
            outcome = refusal.code
        if outcome != case["outcome"]:
            wrong += 1
            print(f"{case['name']}: expected {case['outcome']}, got {outcome}")
    print(f"{len(vectors['cases'])} vectors, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
