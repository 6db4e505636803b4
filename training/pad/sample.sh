#!/bin/sh
# A hundredth of everything, to see that every step runs: sample.sh DATASETS WORK. The model it makes is worthless.
set -eu
MINUTES=0.5 SHARDS=1 SIZE=96 HELD=1 PER_CLIP=4 SHARE=0.02 HEADS=10 exec "$(dirname "$0")/run.sh" "$@"
