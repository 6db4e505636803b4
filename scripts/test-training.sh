#!/usr/bin/env bash
# Runs every training recipe end to end on a sample of the data, each in a fresh virtual environment,
# so that the recipes don't rot. Takes minutes and some gigabytes; not part of `make test`.
#
#   scripts/test-training.sh DATASETS [WORK]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

datasets=${1:-}
work=${2:-.cache/test-training}
[ -d "$datasets" ] || {
    echo "test-training: error: name the folder of recordings: make test-training DATASETS=DIR" >&2
    exit 1
}
datasets=$(cd "$datasets" && pwd)
mkdir -p "$work"
work=$(cd "$work" && pwd)

recipes=(training/*/sample.sh)
[ -e "${recipes[0]}" ] || {
    echo "test-training: error: no recipe has a sample.sh" >&2
    exit 1
}
for sample in "${recipes[@]}"; do
    recipe=$(basename "$(dirname "$sample")")
    echo "test-training: $recipe"
    rm -rf "${work:?}/$recipe"
    mkdir -p "$work/$recipe"
    python3 -m venv "$work/$recipe/venv"
    "$work/$recipe/venv/bin/pip" install --quiet -r "training/$recipe/requirements.txt"
    since=$SECONDS
    PYTHON="$work/$recipe/venv/bin/python" nice "$sample" "$datasets" "$work/$recipe/run"
    echo "test-training: $recipe ran to its end in $((SECONDS - since)) s"
done
