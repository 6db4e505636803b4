#!/usr/bin/env python3
"""Check and open a conditioning token the way a generator should, before it conditions on it.

    pip install -r requirements.txt
    python verify_token.py --keys https://cameo.example --audience gen_1 token.cbor
    python verify_token.py --keys cose-keys.cbor --issuer https://cameo.example --audience gen_1 \\
        --status list.cwt --secret key.jwk --out payload.safetensors token.cbor

Prints what the token allows and, with --secret, which vectors it carries (model, dimension, norm),
never the vectors themselves; --out writes the payload as safetensors. Exit status: 0 accepted,
1 refused (the reason is printed), 2 wrong usage. The format is described in docs/token.md.
`--vectors FILE` runs the project's test vectors.
"""

import argparse
import hashlib
import json
import math
import os
import struct
import sys
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Mapping

import cbor2
import safetensors
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey, PyHPKEError

TYPE = "application/cameo-conditioning+cwt"
STATUS_TYPE = "application/statuslist+cwt"
STATUSES = ("valid", "invalid", "suspended")
MAX_STATUSES = 1 << 20
MAX_TOKEN = 1 << 20
MAX_KEY_SET = 64 << 10
MAX_DEPTH = 16
LEEWAY = 30
POSES = ("frontal", "left", "right", "up", "down")
METRICS = ("euclidean", "cosine")

# Private claims, see docs/token.cddl.
VERSION, CONSENT_VERSION, USE_ID, PURPOSE = -65537, -65538, -65539, -65540
REQUESTER, RESTRICTIONS, PAYLOAD = -65541, -65542, -65543
GRANT, REQUEST_DIGEST, PARENT = -65544, -65545, -65546
STATUS, STATUS_LIST, TTL = 65535, 65533, 65534  # draft-ietf-oauth-status-list

HPKE_4 = CipherSuite.new(
    KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305
)


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
    parser.add_argument("--status", help="the token's status list: `fetch`, or a file")
    parser.add_argument("--secret", help="your private key (a JWK file): open the payload too")
    parser.add_argument("--out", help="write the opened payload to this safetensors file")
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
        if args.status:
            reference = claims[STATUS]["status_list"]
            fetched = fetch(reference["uri"]) if args.status == "fetch" else open(args.status, "rb").read()
            check_status(read_status_list(fetched, keys, reference["uri"], now), reference["idx"])
        payload = open_payload(claims, read_secret(args.secret)) if args.secret else None
    except Refused as refusal:
        print(f"refused: {refusal}")
        return 1
    except OSError as error:
        print(f"refused: {error}")
        return 1
    describe(claims)
    if payload is not None:
        describe_payload(payload)
        if args.out:
            with os.fdopen(os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(payload[0])
    return 0


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read(MAX_TOKEN + 1)


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


def open_envelope(token, keys, typ=TYPE):
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
    if header.get(16) != typ:
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
    if version != 2:
        raise Refused("unknown_version", str(version))
    for key, name in ((1, "iss"), (2, "sub"), (3, "aud"), (USE_ID, "use_id"),
                      (PURPOSE, "purpose"), (REQUESTER, "requester"), (GRANT, "grant")):
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
    status = take(claims, STATUS, "status")
    require(is_map(status) and is_map(status.get("status_list")), "status")
    reference = status["status_list"]
    require(0 <= integer(reference.get("idx"), "status") < 1 << 32, "status")
    text(reference.get("uri"), "status", 256)
    if REQUEST_DIGEST in claims:
        require(is_bytes(claims[REQUEST_DIGEST], 32), "request_digest")
    if PARENT in claims:
        text(claims[PARENT], "parent", 256)
    payload = take(claims, PAYLOAD, "payload")
    require(is_array(payload) and len(payload) == 2, "payload")
    if integer(payload[0], "payload") != 2:
        raise Refused("unknown_payload", str(payload[0]))
    require(isinstance(payload[1], bytes), "payload")
    return claims


def read_secret(path):
    with open(path, encoding="utf-8") as f:
        return secret_of(json.load(f))


def secret_of(jwk):
    """An X25519 private key (RFC 8037) with its kid: the first eight bytes of the public key's COSE
    Key Thumbprint (RFC 9679)."""
    secret = KEMKey.from_jwk(jwk)
    private = X25519PrivateKey.from_private_bytes(secret.to_private_bytes())
    public = private.public_key().public_bytes_raw()
    return secret, hashlib.sha256(encode({1: 1, -1: 4, -2: public})).digest()[:8]


def open_payload(claims, secret):
    """The payload of a token that holds: its bytes, its texts, its tensors. Raises Refused."""
    message = decode_sealing(claims[PAYLOAD][1])
    if not isinstance(message, cbor2.CBORTag) or message.tag != 16:
        raise Refused("malformed_sealing", "not a COSE_Encrypt0")
    parts = message.value
    if not is_array(parts) or len(parts) != 3:
        raise Refused("malformed_sealing", "not three parts")
    protected, unprotected, ciphertext = parts
    if not isinstance(protected, bytes) or not isinstance(ciphertext, bytes):
        raise Refused("malformed_sealing", "a part has a wrong type")
    header = decode_sealing(protected)
    if not is_map(header) or set(header) - {1, 4} or not is_map(unprotected):
        raise Refused("malformed_sealing", "a header has a wrong form")
    if header.get(1) != 42:  # HPKE-4, draft-ietf-cose-hpke
        raise Refused("wrong_sealing_algorithm")
    if not is_bytes(header.get(4), 8):
        raise Refused("malformed_sealing", "no kid")
    if list(unprotected) != [-4] or not is_bytes(unprotected[-4], 32):
        raise Refused("malformed_sealing", "no ek")
    secret, kid = secret
    if header[4] != kid:
        raise Refused("sealed_to_other_key", header[4].hex())
    binding = encode(["cameo-payload-v2", claims[1], claims[2], claims[3], claims[GRANT],
                      claims[USE_ID], claims[7]])
    aad = encode(["Encrypt0", protected, binding])  # RFC 9052, section 5.3
    try:
        plain = HPKE_4.create_recipient_context(unprotected[-4], secret).open(ciphertext, aad)
    except PyHPKEError:
        raise Refused("does_not_open") from None
    return check_payload(plain, claims)


def decode_sealing(data):
    try:
        return decode(data, MAX_TOKEN)
    except Refused as refusal:
        raise Refused("malformed_sealing", str(refusal)) from None


def check_payload(plain, claims):
    """Texts and tensors of an opened payload (safetensors)."""
    try:
        tensors = dict(safetensors.deserialize(plain))
        texts = json.loads(plain[8:8 + int.from_bytes(plain[:8], "little")]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError):
        raise Refused("malformed_container") from None
    for name, ours in (("format", "cameo-conditioning"), ("version", "2"), ("issuer", claims[1]),
                       ("recipient", claims[3]), ("subject", claims[2]), ("grant", claims[GRANT]),
                       ("use_id", claims[USE_ID]), ("token_id", claims[7].hex())):
        require(texts.get(name) == ours, "payload")
    require(json.loads(take(texts, "restrictions", "restrictions")) == list(claims[RESTRICTIONS]),
            "restrictions")
    model = check_model(json.loads(take(texts, "face_model", "face_model")))
    faces = json.loads(take(texts, "faces", "faces"))
    require(1 <= len(faces) <= len(POSES), "faces")
    poses = [face["pose"] for face in faces]
    require(all(pose in POSES for pose in poses) and len(set(poses)) == len(poses), "faces")
    for face in faces:
        name = f"face.{face['pose']}."
        check_vector(model, floats(tensors, name + "vector", [model["dim"]]), face["norm"])
        require(0 <= integer(face["quality"], "quality") <= 100, "quality")
        points = floats(tensors, name + "keypoints", [5, 2])
        require(all(-1 <= v <= 2 for v in points), "keypoints")
        if face.get("frame") is not None:
            require(len(face["frame"]) == 2, "frame")
            require(all(1 <= integer(side, "frame") <= 65535 for side in face["frame"]), "frame")
        if name + "crop" in tensors:
            crop = tensors[name + "crop"]
            require(crop["dtype"] == "U8" and list(crop["shape"]) == [512, 512, 3], "crop")
    if "voice" in texts:
        voice = json.loads(texts["voice"])
        other = check_model(voice["model"])
        check_vector(other, floats(tensors, "voice.vector", [other["dim"]]), voice["norm"])
        require(integer(voice["speech_ms"], "speech_ms") >= 0, "speech_ms")
    return plain, texts, tensors


def read_status_list(data, keys, uri, now):
    """The packed statuses of a Token Status List that holds. Raises Refused."""
    claims = decode(open_envelope(data, keys, STATUS_TYPE), MAX_TOKEN)
    require(is_map(claims) and claims.get(2) == uri, "status_list")
    require(integer(take(claims, 4, "exp"), "exp") > now, "status_list")
    require(integer(take(claims, TTL, "ttl"), "ttl") > 0, "status_list")
    listed = take(claims, STATUS_LIST, "status_list")
    require(is_map(listed) and listed.get("bits") == 2 and isinstance(listed.get("lst"), bytes),
            "status_list")
    unpacker = zlib.decompressobj()
    packed = unpacker.decompress(listed["lst"], MAX_STATUSES // 4)
    require(not unpacker.unconsumed_tail and unpacker.eof, "status_list")
    return packed


def check_status(packed, index):
    if index // 4 >= len(packed):
        raise Refused("status_out_of_range", str(index))
    status = packed[index // 4] >> index % 4 * 2 & 3
    if status != 0:
        raise Refused("revoked", STATUSES[status] if status < 3 else "unknown status")


def check_model(model):
    require(is_map(model), "model")
    text(take(model, "name", "model"), "model", 256)
    require(len(bytes.fromhex(take(model, "sha256", "model"))) == 32, "model")
    require(1 <= integer(take(model, "dim", "dim"), "dim") <= 4096, "dim")
    require(take(model, "metric", "metric") in METRICS, "metric")
    return model


def check_vector(model, vector, norm):
    require(len(vector) == model["dim"], "vector")
    require(isinstance(norm, (int, float)) and math.isfinite(norm), "norm")
    require(all(map(math.isfinite, vector)), "vector")
    own = math.sqrt(sum(v * v for v in vector))
    require(own > 0 and abs(own - norm) <= 1e-3 * own, "norm")


def describe(claims):
    """What the token allows."""
    print("accepted")
    for name, key in (("subject", 2), ("purpose", PURPOSE), ("use id", USE_ID), ("grant", GRANT),
                      ("requester", REQUESTER), ("consent version", CONSENT_VERSION)):
        print(f"  {name}: {claims[key]}")
    print(f"  expires: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(claims[4]))}")
    for restriction in claims[RESTRICTIONS]:
        print(f"  restriction: {restriction}")


def describe_payload(payload):
    """What the payload carries, without its biometric values."""
    _, texts, tensors = payload
    model = json.loads(texts["face_model"])
    print(f"  face model: {model['name']}, {model['dim']} dimensions, {model['metric']}")
    for face in json.loads(texts["faces"]):
        print(f"    {face['pose']}: norm {face['norm']:.4f}, quality {face['quality']}")
    if "voice" in texts:
        voice = json.loads(texts["voice"])
        print(f"  voice model: {voice['model']['name']}, {voice['model']['dim']} dimensions")
    print(f"  tensors: {', '.join(sorted(tensors))}")


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


def floats(tensors, name, shape):
    """The values of a single-precision tensor."""
    tensor = take(tensors, name, "a tensor of the payload")
    require(tensor["dtype"] == "F32" and list(tensor["shape"]) == shape, "payload")
    return struct.unpack(f"<{math.prod(shape)}f", bytes(tensor["data"]))


def run_vectors(path):
    with open(path, encoding="utf-8") as f:
        vectors = json.load(f)
    keys = read_key_set(bytes.fromhex(vectors["cose_key_set"]))
    secret = secret_of(vectors["recipient_jwk"])
    wrong = 0
    for case in vectors["cases"]:
        try:
            claims = verify(bytes.fromhex(case["token"]), keys, case["issuer"], case["audience"],
                            case["now"])
            outcome = "ok"
        except Refused as refusal:
            outcome = refusal.code
        if outcome == "ok":
            try:
                plain, _, _ = open_payload(claims, secret)
                if case.get("payload_sha256") not in (None, hashlib.sha256(plain).hexdigest()):
                    outcome = "another payload"
            except Refused as refusal:
                outcome = refusal.code
        if outcome != case["outcome"]:
            wrong += 1
            print(f"{case['name']}: expected {case['outcome']}, got {outcome}")
    print(f"{len(vectors['cases'])} vectors, {wrong} wrong")
    listed = vectors["status_list"]
    packed = read_status_list(bytes.fromhex(listed["list"]), keys, listed["uri"], listed["now"])
    for index, status in listed["statuses"].items():
        try:
            check_status(packed, int(index))
            found = "valid"
        except Refused as refusal:
            found = str(refusal).removeprefix("revoked: ")
        if found != status and not found.startswith(status):
            wrong += 1
            print(f"status {index}: expected {status}, got {found}")
    print(f"{len(listed['statuses'])} statuses, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
