"""The largest face of a picture, by YuNet or BlazeFace, whichever the ONNX file holds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime

LEAST_SCORE = 0.7
BLAZE_SIDE = 256
BLAZE_GRIDS = [(16, 2, "scores_16", "boxes_16"), (8, 6, "scores_8", "boxes_8")]
# BlazeFace's box made into YuNet's (medians of 51 frames): BlazeFace leaves the forehead out.
BLAZE_GROW = np.array([0.89, 1.23])
BLAZE_UP = 0.104


class Detector:
    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.blaze = net if {o.name for o in net.get_outputs()} >= {"scores_16", "boxes_16"} else None
        if self.blaze is None:
            self.yunet = cv2.FaceDetectorYN.create(str(path), "", (320, 320), LEAST_SCORE, 0.3, 50)

    def largest(self, image: np.ndarray) -> np.ndarray | None:
        """Its box (x, y, width, height) in pixels, from the brow's upper edge or higher to the chin."""
        return self.by_yunet(image) if self.blaze is None else self.by_blaze(image)

    def by_yunet(self, image: np.ndarray) -> np.ndarray | None:
        scale = min(1.0, 640 / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self.yunet.setInputSize((small.shape[1], small.shape[0]))
        _, faces = self.yunet.detect(small)
        if faces is None:
            return None
        return max(faces, key=lambda f: f[2] * f[3])[:4] / scale

    def by_blaze(self, image: np.ndarray) -> np.ndarray | None:
        scale = BLAZE_SIDE / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        square = np.zeros((BLAZE_SIDE, BLAZE_SIDE, 3), np.float32)
        square[: small.shape[0], : small.shape[1]] = small[:BLAZE_SIDE, :BLAZE_SIDE, ::-1]
        names = [n for *_, s, b in BLAZE_GRIDS for n in (s, b)]
        found = iter(self.blaze.run(names, {"image": square[None] / 127.5 - 1}))
        best = None
        for cells, anchors, *_ in BLAZE_GRIDS:
            score, box = 1 / (1 + np.exp(-np.clip(next(found)[0, :, 0], -50, 50))), next(found)[0]
            at = np.arange(len(score)) // anchors
            centre = (np.stack([at % cells, at // cells], 1) + 0.5) * (BLAZE_SIDE / cells) + box[:, :2]
            for i in np.flatnonzero(score >= LEAST_SCORE):
                size = box[i, 2:4] * BLAZE_GROW
                middle = centre[i] - [0, BLAZE_UP * box[i, 3]]
                if best is None or size.prod() > best[2:].prod():
                    best = np.array([*(middle - size / 2), *size])
        return None if best is None else best / scale
