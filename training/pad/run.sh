#!/bin/sh
# The whole recipe: run.sh DATASETS WORK. See README.md for the variables.
set -eu
datasets=$1
work=$2
here=$(dirname "$0")
python=${PYTHON:-python3}
detector=${FACE_DETECTOR:-onnx/installed/blazeface.onnx}
minutes=${MINUTES:-180}
shards=${SHARDS:-120}
size=${SIZE:-960}
held=${HELD:-2}
per_clip=${PER_CLIP:-40}
share=${SHARE:-1}
heads=${HEADS:-300}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

[ -f "$detector" ] || { echo "run.sh: no face detector at $detector: run make models, or name a YuNet or BlazeFace ONNX file in FACE_DETECTOR" >&2; exit 1; }

run() {
    step=$1
    shift
    echo "== $step"
    "$python" "$here/$step.py" "$@"
}

run sources "$datasets" "$work" --detector "$detector" --per-clip "$per_clip" --share "$share"
run render "$work" --count "$heads"
run generate "$work" "$work/val" --splits val --seed 2 --shards "$held" --size "$size"
run generate "$work" "$work/test" --splits test --seed 7 --shards "$held" --size "$size"
run generate "$work" "$work/train" --splits train --seed 1 --shards "$shards" --size "$size"
run train "$work/train" "$work/val" "$work/run1" --minutes "$minutes"
run export "$work/run1/best.pt" "$work/cameo-pad-v1.onnx"
run evaluate "$work/cameo-pad-v1.onnx" "$datasets" "$work" --detector "$detector" --json "$work/report.json" --per-clip "$per_clip" \
    ${DRAWN:+--drawn "$DRAWN"} ${CAMEO_MODELS_EXTRA_DIR:+--models-extra "$CAMEO_MODELS_EXTRA_DIR"}
