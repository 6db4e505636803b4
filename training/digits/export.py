"""Writes a checkpoint as a ggml file that whisper.cpp loads unmodified.

The file claims Whisper's English vocabulary size (51,864), because whisper.cpp derives its special
tokens from it; ten digit words, the end, the start and "no timestamps" are the only rows trained.
Layout: magic, eleven sizes, mel filters, vocabulary, then the tensors (whisper.cpp, `whisper_model_load`).
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from features import N_BINS, N_MELS, mel_filters
from model import DigitsModel, load

VOCABULARY = 51_864
# Token numbers of " 0" … " 9" in GPT-2's vocabulary, then whisper.cpp's end, start, no timestamps.
TOKEN_IDS = [657, 352, 362, 513, 604, 642, 718, 767, 807, 860, 50_256, 50_257, 50_362]
TEXT_TOKENS = 50_257
BLANK = 220  # the token " ", which whisper.cpp looks up by its text
TEXT_CONTEXT = 64
OUT_OF_REACH = -40.0

MAGIC = 0x67676D6C
# name: (file type in the header, tensor type); quantisation version 2 is header type + 2000
TYPES = {"f16": (1, 1), "q8_0": (7, 8), "q5_0": (8, 6)}
F32, F16 = 0, 1


def quantise_q8_0(w: np.ndarray) -> bytes:
    """Blocks of 32: an f16 scale and 32 signed bytes."""
    w = w.reshape(-1, 32)
    scale = np.abs(w).max(axis=1, keepdims=True) / 127
    q = np.round(np.divide(w, scale, out=np.zeros_like(w), where=scale > 0)).astype(np.int8)
    return np.concatenate([scale.astype(np.float16).view(np.uint8), q.view(np.uint8)], axis=1).tobytes()


def quantise_q5_0(w: np.ndarray) -> bytes:
    """Blocks of 32: an f16 scale, 32 high bits, 32 low nibbles (first half low, second half high)."""
    w = w.reshape(-1, 32)
    extreme = np.take_along_axis(w, np.abs(w).argmax(axis=1)[:, None], axis=1)
    scale = extreme / -16
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    q = np.clip(w * inverse + 16.5, 0, 31).astype(np.uint8)
    low = (q[:, :16] & 15) | ((q[:, 16:] & 15) << 4)
    high = np.packbits(q >> 4, axis=1, bitorder="little")
    return np.concatenate([scale.astype(np.float16).view(np.uint8), high, low], axis=1).tobytes()


def tensor(f: BinaryIO, name: str, values: np.ndarray, kind: int) -> None:
    """One tensor: its shape is written innermost dimension first."""
    f.write(struct.pack("3i", values.ndim, len(name), kind))
    f.write(struct.pack(f"{values.ndim}i", *values.shape[::-1]))
    f.write(name.encode())
    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == F32:
        f.write(values.tobytes())
    elif kind == F16:
        f.write(values.astype(np.float16).tobytes())
    else:
        f.write({8: quantise_q8_0, 6: quantise_q5_0}[kind](values))


def vocabulary(f: BinaryIO) -> None:
    """Texts of the tokens below the special ones; only the digits and the blank have any."""
    text = {i: f" {d}" for d, i in enumerate(TOKEN_IDS[:10])} | {BLANK: " "}
    f.write(struct.pack("i", TEXT_TOKENS))
    for i in range(TEXT_TOKENS):
        word = text.get(i, "").encode()
        f.write(struct.pack("i", len(word)) + word)


def export(model: DigitsModel, path: Path, kind: str) -> None:
    """Writes `model`; its matrices as `kind`, its convolutions as f16, everything else as f32."""
    cfg = model.cfg
    header_type, matrix_type = TYPES[kind]
    weights = {k: v.detach().numpy() for k, v in model.state_dict().items() if not k.startswith("frame_")}

    embedding = np.zeros((VOCABULARY, cfg.width), np.float32)
    embedding[:, -1] = OUT_OF_REACH
    embedding[TOKEN_IDS] = weights["decoder.token_embedding.weight"]
    weights["decoder.token_embedding.weight"] = embedding
    positions = weights["decoder.positional_embedding"]
    repeats = np.repeat(positions[-1:], TEXT_CONTEXT - len(positions), axis=0)
    weights["decoder.positional_embedding"] = np.concatenate([positions, repeats])

    with path.open("wb") as f:
        f.write(struct.pack(
            "12i", MAGIC, VOCABULARY, cfg.audio_context, cfg.width, cfg.heads, cfg.encoder_layers,
            TEXT_CONTEXT, cfg.width, cfg.heads, cfg.decoder_layers, N_MELS,
            header_type + (2000 if kind.startswith("q") else 0),
        ))  # fmt: skip
        f.write(struct.pack("2i", N_MELS, N_BINS) + mel_filters().tobytes())
        vocabulary(f)
        for name, values in weights.items():
            if ".conv" in name:
                if name.endswith("bias"):
                    tensor(f, name, values[:, None], F32)
                else:
                    tensor(f, name, values, F16)
            elif name.endswith("weight") and values.ndim == 2:
                tensor(f, name, values, matrix_type)
            else:
                tensor(f, name, values, F32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    args = parser.parse_args()

    export(load(args.checkpoint)[0], args.out, args.type)
    print(f"{args.out}: {args.out.stat().st_size} bytes, sha256 {hashlib.sha256(args.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
