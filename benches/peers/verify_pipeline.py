"""The same verification as it is commonly written: OpenCV decodes, ONNX Runtime runs every model on
every frame. Usage: verify_pipeline.py CLIP MODELS_DIR. Needs opencv-python-headless, onnxruntime and
numpy. One thread, like the service's sessions; crops are fixed, so tracking costs it nothing."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

clip, models = sys.argv[1], Path(sys.argv[2])
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
cv2.setNumThreads(1)


def load(name):
    session = ort.InferenceSession(str(models / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


detector, mesh, embedding, spoof = load("blazeface"), load("facemesh"), load("dlib_resnet"), load("cameo-pad-v1")


def run(model, picture, size, scale, offset, channels_first):
    session, name = model
    x = cv2.resize(picture, (size, size)).astype(np.float32) * scale + offset
    x = np.ascontiguousarray(x.transpose(2, 0, 1)) if channels_first else x
    return session.run(None, {name: x[None]})


capture = cv2.VideoCapture(clip)
frames = 0
while True:
    ok, frame = capture.read()
    if not ok:
        break
    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    height, width = rgb.shape[:2]
    face = rgb[height // 8 : height * 7 // 8, width // 4 : width * 3 // 4]
    run(detector, rgb, 256, 1 / 127.5, -1.0, False)
    run(mesh, face, 192, 1 / 255.0, 0.0, False)
    run(embedding, face, 150, 1.0, 0.0, True)
    run(spoof, face, 96, 1.0, 0.0, True)
    frames += 1
print(f"{frames} frames")
