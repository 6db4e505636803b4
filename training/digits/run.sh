#!/bin/sh
# The whole recipe: run.sh DATASETS WORK. See README.md for the variables.
set -eu
datasets=$1
work=$2
here=$(dirname "$0")
python=${PYTHON:-python3}
minutes=${MINUTES:-180}
voices=${VOICES:-300}
shards=${SHARDS:-40}
size=${SIZE:-500}
threads=${THREADS:-1}
export OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads"

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
run mix "$work" "$work/shards/light" --light --count "$((shards / 5 + 1))" --size "$size" --seed 8
run mix "$work" "$work/shards/full" --count "$shards" --size "$size"
run train "$work/shards" "$work/held_out_val_mels.npz" "$work/run" --minutes "$minutes" --threads "$threads"
run export "$work/run/best.pt" "$work/cameo-digits-v1-q8_0.bin" --type q8_0
zstd -19 -qf "$work/cameo-digits-v1-q8_0.bin" -o "$work/cameo-digits-v1-q8_0.bin.zst"
run evaluate "$work/run/best.pt" "$work/held_out_val.npz" --json "$work/val.json"
run evaluate "$work/run/best.pt" "$work/held_out_test.npz" --json "$work/test.json"
run agree "$work/run/best.pt" "$work"
