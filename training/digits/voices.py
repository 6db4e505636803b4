"""Synthetic speech: digits, digit strings and other words from rule-based and diphone voices.

Uses whichever of `espeak-ng`, `flite` and `festival` is installed and says which are missing. The
voices are a supplement to recordings: they bring accents, odd pitches and connected strings.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from align import Aligner
from audio import Clip, level, read, save_clips, trim

DIGIT_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

ESPEAK_ACCENTS = [
    "en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-029",
    "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-scotland", "en-us-nyc",
]  # fmt: skip
ESPEAK_VARIANTS = [
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique",
    "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "RicishayMax", "adam",
    "anika", "announcer", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david",
    "ed", "edward", "edward2", "f1", "f3", "f4", "grandma", "grandpa", "gustave", "iven", "iven2",
    "iven3", "john", "kaukovalta", "klatt", "klatt2", "klatt4", "klatt5", "klatt6", "linda", "m1",
    "m2", "m4", "m5", "m6", "m7", "m8", "marcelo", "max", "michel", "miguel", "norbert", "pablo",
    "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "steph3",
    "travis", "victor", "zac",
]  # fmt: skip
FLITE_PITCH = {"kal": 105, "kal16": 105, "awb": 130, "rms": 100, "slt": 175}
FESTIVAL_VOICES = ["kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"]

# No word here sounds like a digit ("to", "for", "ate", "won", "oh" and the numerals are left out).
OTHER_WORDS = """
yes no stop go help repeat enter erase rubout cat dog bed bird house tree happy left right up down
off marvin sheila wow hello thanks please camera record again window garden music summer winter
monday tuesday wednesday thursday friday saturday sunday january february march april may june july
august september october november december apple orange banana coffee water paper phone letter
person people picture table mountain river yellow purple green blue red black white brown mother
father brother sister doctor teacher student question answer morning evening tomorrow yesterday
hundred thousand million alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima
mike oscar papa quebec romeo sierra tango uniform victor whiskey zulu sex sick heaven nice fine line
hive live sever free tree flew true door floor more hero zebra night date late wait bun sun run
""".split()
OTHER_SENTENCES = """
I would like to record my face please|Can you hear me now|The weather is nice this morning
Please turn your head slowly|Where is the button|I am not sure what to say|This is a test of the camera
Thank you very much|Good morning everyone|My name is on the list|Let me try that again
The quick brown fox jumps over the lazy dog|She sells sea shells by the shore|Nothing to see here
Open the window and close the door|We are going home now|It was a long and windy road
Hold the camera still|I agree with the terms|Say it again more slowly
""".replace("\n", "|").strip("|").split("|")
LETTERS = "a b c d e f g h j k l m n p q r s t u v w x y z".split()


def spoken(digits: list[int], rng: random.Random) -> list[str]:
    """Digit words, with "oh" for zero now and then."""
    return ["oh" if d == 0 and rng.random() < 0.2 else DIGIT_WORDS[d] for d in digits]


def utterances(rng: random.Random, strings: int, other: int) -> list[tuple[str, list[int] | None]]:
    """What a voice is asked to say: the ten digits, `strings` strings, `other` negatives."""
    out: list[tuple[str, list[int] | None]] = [(w, [d]) for d, w in enumerate(DIGIT_WORDS)]
    if rng.random() < 0.5:
        out.append(("oh", [0]))
    for _ in range(strings):
        digits = [rng.randrange(10) for _ in range(rng.randint(3, 8))]
        sep = rng.choice([" ", " ", ", ", ", ", ". "])
        out.append((sep.join(spoken(digits, rng)), digits))
    for _ in range(other):
        kind = rng.random()
        if kind < 0.4:
            text = " ".join(rng.sample(OTHER_WORDS, rng.randint(1, 5)))
        elif kind < 0.7:
            text = ", ".join(rng.sample(LETTERS, rng.randint(2, 5)))
        else:
            text = rng.choice(OTHER_SENTENCES)
        out.append((text, None))
    return out


def commands(index: int, engine: str, rng: random.Random):
    """A voice's name and a function from (text, path) to the command that speaks it."""
    if engine == "espeak-ng":
        name = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}"
        pitch, speed, gap = rng.randint(15, 85), rng.randint(105, 220), rng.choice([0, 0, 2, 6])
        return f"espeak-{name}-{index}", lambda text, path: [
            "espeak-ng", "-v", name, "-p", str(pitch), "-s", str(speed), "-g", str(gap),
            "-w", str(path), text,
        ]  # fmt: skip
    name = rng.choice(list(FLITE_PITCH))
    stretch, f0 = rng.uniform(0.75, 1.4), rng.uniform(0.8, 1.25) * FLITE_PITCH[name]
    return f"flite-{name}-{index}", lambda text, path: [
        "flite", "-voice", name, "--setf", f"duration_stretch={stretch:.3f}",
        "--setf", f"int_f0_target_mean={f0:.1f}", "-t", text, "-o", str(path),
    ]  # fmt: skip


@lru_cache
def aligner() -> Aligner:
    """One for all threads: loading it takes longer than a voice."""
    return Aligner()


ALIGNING = Lock()


def locate(x: np.ndarray, words: list[str]) -> list[tuple[str, int, int]]:
    """Where the words of a string are."""
    with ALIGNING:
        return aligner().words(x, words)


def collect(name: str, said: list[tuple[str, list[int] | None]], folder: Path) -> list[Clip]:
    """Reads what an engine wrote into `folder` (`0.wav`, `1.wav`, …), and locates the digits of strings."""
    clips = []
    for i, (text, digits) in enumerate(said):
        path = folder / f"{i}.wav"
        if not path.exists():
            continue
        x = level(trim(read(path))[0])
        if len(x) < 1600 or len(x) > 16000 * 9:
            continue
        if digits is None:
            clips.append(Clip(name, "other", [], x))
        elif len(digits) == 1:
            clips.append(Clip(name, "digit", digits, x))
        else:
            words = re.findall("[a-z]+", text)
            clips.append(Clip(name, "string", digits, x, locate(x, words)))
    return clips


def speak(args: tuple[int, str, int]) -> list[Clip]:
    """One espeak-ng or flite voice."""
    index, engine, seed = args
    rng = random.Random(seed)
    name, command = commands(index, engine, rng)
    said = utterances(rng, strings=5, other=3)
    with tempfile.TemporaryDirectory() as tmp:
        for i, (text, _) in enumerate(said):
            subprocess.run(
                command(text, Path(tmp) / f"{i}.wav"),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60,
            )  # fmt: skip
        return collect(name, said, Path(tmp))


def festival(args: tuple[int, str, int]) -> list[Clip]:
    """One festival voice at one speaking rate (its start-up is slow: one process a voice)."""
    index, voice, seed = args
    rng = random.Random(seed)
    said = utterances(rng, strings=10, other=5)
    with tempfile.TemporaryDirectory() as tmp:
        script = [
            f"(voice_{voice})",
            f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.4):.3f})",
        ]
        for i, (text, _) in enumerate(said):
            script.append(
                f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{tmp}/{i}.wav")'
            )
        (Path(tmp) / "say.scm").write_text("\n".join(script))
        subprocess.run(
            ["festival", "-b", f"{tmp}/say.scm"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=300,
        )  # fmt: skip
        return collect(f"festival-{voice}-{index}", said, Path(tmp))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="where the voices are written (.npz)")
    parser.add_argument("--voices", type=int, default=400)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()

    engines = [e for e in ("espeak-ng", "flite", "festival") if shutil.which(e)]
    for missing in sorted({"espeak-ng", "flite", "festival"} - set(engines)):
        print(f"{missing} is not installed: fewer synthetic voices")
    if not engines:
        raise SystemExit("no speech synthesiser found: install espeak-ng, flite or festival")

    share = {"espeak-ng": 0.72, "flite": 0.2, "festival": 0.08}
    jobs = []
    for engine in engines:
        for i in range(max(1, round(args.voices * share[engine] / sum(share[e] for e in engines)))):
            seed = args.seed * 1_000_003 + len(jobs)
            if engine == "festival":
                jobs.append((festival, (i, FESTIVAL_VOICES[i % len(FESTIVAL_VOICES)], seed)))
            else:
                jobs.append((speak, (i, engine, seed)))
    with ThreadPoolExecutor(2) as pool:
        clips = [clip for voice in pool.map(lambda job: job[0](job[1]), jobs) for clip in voice]
    save_clips(args.out, clips)
    strings = [c for c in clips if c.kind == "string"]
    print(
        f"{len({c.speaker for c in clips})} voices, {len(clips)} clips, {len(strings)} strings "
        f"({sum(not c.words for c in strings)} not located) -> {args.out}"
    )


if __name__ == "__main__":
    main()
