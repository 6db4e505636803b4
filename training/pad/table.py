"""Prints the model card's tables from a report: `table.py report.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def percent(s: dict) -> str:
    return f"{100 * s['share']:.1f} ({100 * s['low']:.1f}–{100 * s['high']:.1f})"


def area(a: dict) -> str:
    return f"{a['auc']:.3f} ({a['low']:.3f}–{a['high']:.3f})"


def counts(pair: list[int]) -> str:
    return f"{pair[1]} of {pair[0]}"


def main() -> None:
    r = json.loads(Path(sys.argv[1]).read_text())
    print("| slice | live crops of sources | attack crops of sources | AUC |\n| --- | --- | --- | --- |")
    for name, a in r["simulated"]["areas"].items():
        print(f"| {name} | {counts(a['live'])} | {counts(a['attack'])} | {area(a)} |")
    print("\n| both classes degraded alike | AUC | rank correlation | mean live | mean attack |\n| --- | --- | --- | --- | --- |")
    for name, d in r["simulated"]["degraded"].items():
        print(f"| {name} | {d['auc']:.3f} | {d['rank_correlation']:.2f} | {d['live_mean']:.2f} | {d['attack_mean']:.2f} |")
    print("\n| real frames | live frames of sources | attack frames of sources | AUC | live frames below one half % |\n| --- | --- | --- | --- | --- |")
    for name, a in r["beside"].items():
        below = a.get("live_below_half")
        print(f"| {name} | {counts(a['live'])} | {counts(a['attack'])} | {area(a)} | {percent(below) if below else ''} |")
    print("\n| live, held out | n | rejected % |\n| --- | --- | --- |")
    for name, s in r["held_out_live"].items():
        print(f"| {name} | {s['n']} | {percent(s)} |")
    print("\n| attack | n | accepted % |\n| --- | --- | --- |")
    for name, s in r["attacks_accepted"].items():
        print(f"| {name} | {s['n']} | {percent(s)} |")
    for key in ("drawn", "sources", "trained_on", "calibration", "ms_per_crop"):
        print(f"\n{key}: {json.dumps(r[key])}")


if __name__ == "__main__":
    main()
