#!/bin/sh
# The whole recipe: run.sh DATASETS WORK. See README.md for the variables.
set -eu
datasets=$1
work=$2
here=$(dirname "$0")
python=${PYTHON:-python3}
minutes=${MINUTES:-180}
voices=${VOICES:-300}
shards=${SHARDS:-24}
size=${SIZE:-500}
workers=${WORKERS:-2}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

run() {
    step=$1
    shift
    echo "== $step"
    "$python" "$here/$step.py" "$@"
}

run corpus "$datasets" "$work"
run voices "$work/voices.npz" --voices "$voices"
run holdout "$work" val
run holdout "$work" test

# First lessons: excerpts and light degradation, then whole strings, then everything at once.
run mix "$work" "$work/shards/light" --severity 0.25 --count "$((shards / 3 + 1))" --size "$size"
run train "$work/shards/light" "$work/held_out_val_mels.npz" "$work/run1" --minutes "$((minutes / 9 + 1))" --workers "$workers" \
    --most-digits 2
run train "$work/shards/light" "$work/held_out_val_mels.npz" "$work/run2" --minutes "$((minutes * 3 / 9 + 1))" --workers "$workers" \
    --resume "$work/run1/last.pt"
run align "$work/run2/best.pt" "$work/real_train.npz" "$work/segments.npz"
run mix "$work" "$work/shards/full" --count "$shards" --size "$size"
run train "$work/shards/full" "$work/held_out_val_mels.npz" "$work/run3" --minutes "$((minutes * 5 / 9 + 1))" --workers "$workers" \
    --resume "$work/run2/last.pt"

run export "$work/run3/best.pt" "$work/cameo-digits-v1-q8_0.bin" --type q8_0
zstd -19 -qf "$work/cameo-digits-v1-q8_0.bin" -o "$work/cameo-digits-v1-q8_0.bin.zst"
run evaluate "$work/run3/best.pt" "$work/held_out_test.npz" --json "$work/test.json"
