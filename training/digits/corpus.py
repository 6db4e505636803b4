"""Recordings of real people: read from a datasets folder, split by speaker.

No speaker is in two splits. The split follows from a hash of the speaker's name, so it does not
depend on the order of files, and the test speakers stay the same when recordings are added.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

from align import DIGITS, Aligner
from audio import RATE, Clip, level, read, save_clips, trim

SPLITS = ("train", "val", "test")
# The share of a corpus's speakers (at least one, where a share is given) held out for each purpose.
HELD_OUT = {"an4": {"test": 0.19, "val": 0.11}, "gsc": {"test": 0.2, "val": 0.1}, "fsdd": {"test": 0.25}}

NUMERALS = set(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty "
    "forty fifty sixty seventy eighty ninety hundred thousand million and".split()
)


def split_speakers(speakers: set[str]) -> dict[str, str]:
    """Assigns every speaker of one corpus to a split."""
    order = sorted(speakers, key=lambda s: hashlib.sha256(f"digits-v1/{s}".encode()).digest())
    corpus = order[0].split("_")[0] if order else ""
    out, start = {}, 0
    for split, share in HELD_OUT.get(corpus, {}).items():
        count = max(1, round(share * len(order)))
        out.update(dict.fromkeys(order[start : start + count], split))
        start += count
    return {s: out.get(s, "train") for s in order}


def transcript(words: list[str]) -> tuple[str, list[int]]:
    """Kind and digits of a transcript; where numerals ("forty seven") or the letter "o", which
    sounds like a zero, leave the digits uncertain, the recording serves for cutting words out."""
    if any(w in NUMERALS for w in words) or "o" in words:
        return "numeral", []
    digits = [DIGITS[w] for w in words if w in DIGITS]
    if not digits:
        return "other", []
    if len(digits) == len(words):
        return ("digit" if len(digits) == 1 else "string"), digits
    return "mixed", digits


def recordings(root: Path) -> list[Clip]:
    """Every usable speech recording below the datasets folder, its words located."""
    clips: list[Clip] = []
    aligner = Aligner()
    with (root / "MANIFEST.tsv").open(newline="") as f:
        for row in csv.DictReader(f, delimiter="\t"):
            path, speaker = row["path"], row["speaker"]
            if not path.startswith("digits/") or not (root / path).exists():
                continue
            words = row["label"].lower().split()
            kind, digits = transcript(words)
            x = read(root / path)
            # Isolated recordings are full of noise to the ends: the word is what the aligner says.
            found = aligner.words(x, words)
            if kind == "digit" and found:
                x, found = x[max(0, found[0][1] - 320) : found[0][2] + 320], []
            clip, cut = trim(x, keep_s=0.02 if kind == "digit" else 0.1)
            found = [(w, max(0, a - cut), min(len(clip), b - cut)) for w, a, b in found]
            if RATE // 10 < len(clip) <= RATE * 9.5:
                clips.append(Clip(speaker, kind, digits, level(clip), found))
    for path in sorted((root / "digits/fsdd").glob("*.wav")):
        digit, speaker, _ = path.stem.split("_")
        clip, _ = trim(read(path))
        if len(clip) <= RATE * 1.3:
            clips.append(Clip(f"fsdd_{speaker}", "digit", [int(digit)], level(clip)))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("out", type=Path, help="folder for real_{train,val,test}.npz and noise.npz")
    args = parser.parse_args()

    clips = recordings(args.datasets)
    if not clips:
        raise SystemExit(f"no recordings below {args.datasets}: is it a datasets folder?")
    by_corpus: dict[str, set[str]] = {}
    for c in clips:
        by_corpus.setdefault(c.speaker.split("_")[0], set()).add(c.speaker)
    split_of: dict[str, str] = {}
    for speakers in by_corpus.values():
        split_of.update(split_speakers(speakers))
    for split in SPLITS:
        part = [c for c in clips if split_of[c.speaker] == split]
        save_clips(args.out / f"real_{split}.npz", part)
        kinds = {k: sum(c.kind == k for c in part) for k in ("digit", "string", "mixed", "numeral", "other")}
        located = sum(len(c.words) for c in part)
        print(split, len({c.speaker for c in part}), "speakers", kinds, located, "words located")
    noise = [Clip(p.stem, "noise", [], level(read(p))) for p in sorted((args.datasets / "noise").glob("*.flac"))]
    save_clips(args.out / "noise.npz", noise)
    print(len(noise), "noise recordings")


if __name__ == "__main__":
    main()
