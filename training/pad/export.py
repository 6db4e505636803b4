"""Writes the ONNX file, checks it against the framework and writes the golden vectors:
`export.py CHECKPOINT OUT.onnx --vectors tests/vectors/pad.json`."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from model import SIDE, Net

OPSET = 17
TOLERANCE = 1e-3


def formula(k: int) -> np.ndarray:
    """Input `k` of the golden vectors, (SIDE, SIDE, 3) BGR 0–255: no photograph, whole numbers only."""
    y, x, c = np.mgrid[0:SIDE, 0:SIDE, 0:3]
    return ((x * (3 + k) + y * (5 + 2 * k) + x * y * (1 + c) // (7 + k) + 40 * c) % 256).astype(np.uint8)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def planes(crop: np.ndarray) -> np.ndarray:
    return crop.astype(np.float32).transpose(2, 0, 1)[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vectors", type=Path)
    args = parser.parse_args()
    net = Net()
    net.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    net.eval()
    whole = nn.Sequential(net, nn.Softmax(1)).eval()
    example = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(
        whole, (example,), str(args.out), input_names=["image"], output_names=["probabilities"], opset_version=OPSET, dynamo=False
    )
    run = session(args.out)
    vectors, worst = [], 0.0
    for k in range(4):
        crop = planes(formula(k))
        with torch.no_grad():
            expected = whole(torch.from_numpy(crop)).numpy()
        worst = max(worst, float(np.abs(run.run(None, {"image": crop})[0] - expected).max()))
        vectors.append({"k": k, "probabilities": [round(float(v), 6) for v in expected[0]]})
    print(f"largest difference of a probability between the framework and ONNX Runtime: {worst:.2e}")
    if worst > TOLERANCE:
        raise SystemExit("the exported model does not agree with the framework")
    if args.vectors:
        note = "pixel (x, y), channel c (blue, green, red): (x * (3 + k) + y * (5 + 2 * k) + x * y * (1 + c) / (7 + k) + 40 * c) mod 256, division rounded down"
        args.vectors.write_text(json.dumps({"side": SIDE, "input": note, "vectors": vectors}, indent=1) + "\n")
    data = args.out.read_bytes()
    print(args.out, len(data), "bytes, sha256", hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
