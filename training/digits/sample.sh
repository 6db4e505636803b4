#!/bin/sh
# Every step of the recipe on a sample, in minutes, so that it doesn't rot: sample.sh DATASETS WORK.
# The sample's model has learnt next to nothing; the steps themselves check what they read and write.
set -eu
here=$(dirname "$0")
datasets=$1
work=$2

mkdir -p "$work/sample/digits/fsdd"
# Some of the speakers of strings, the Speech Commands, two takes of each FSDD digit, and the noise.
head -n 1 "$datasets/MANIFEST.tsv" > "$work/sample/MANIFEST.tsv"
grep -E '^digits/an4_[a-z_]+/(f|m[b-c])' "$datasets/MANIFEST.tsv" >> "$work/sample/MANIFEST.tsv"
grep -E '^digits/speech_commands_' "$datasets/MANIFEST.tsv" >> "$work/sample/MANIFEST.tsv"
for part in an4_digit_strings an4_commands_mixed speech_commands_digits speech_commands_other_words; do
    ln -sfn "$(realpath "$datasets/digits/$part")" "$work/sample/digits/$part"
done
ln -sfn "$(realpath "$datasets/noise")" "$work/sample/noise"
for take in 0 1; do
    ln -sf "$(realpath "$datasets/digits/fsdd")"/*_"$take".wav "$work/sample/digits/fsdd/"
done

MINUTES=${MINUTES:-1} VOICES=${VOICES:-6} SHARDS=1 SIZE=60 IMPOSTORS=4 "$here/run.sh" "$work/sample" "$work"
test "$(zstd -dc "$work/cameo-digits-v1-q8_0.bin.zst" | head -c 4)" = lmgg
