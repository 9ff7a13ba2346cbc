#!/usr/bin/env python3
"""Compare what the jobs of a run took with what their rules ask for: profiles/measured.py results/benchmarks."""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

RULES = Path(__file__).resolve().parent.parent / "rules"


def requests():
    """Return what each rule asks for at the first attempt, as written: memory [MB] and time [minutes]."""
    asked = defaultdict(dict)
    for file in sorted(RULES.glob("*.smk")):
        for part in re.split(r"^rule ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            for name, value in re.findall(r"^        (mem_mb|runtime)=growing\((\w+)\),", part, re.MULTILINE):
                asked[part.split(":")[0]][name] = value
    return asked


def measured(folder):
    """Return seconds and largest memory [MB] of each rule's jobs, from their benchmark files."""
    taken = defaultdict(list)
    for file in sorted(folder.rglob("*.tsv")):
        with file.open(encoding="utf-8") as stream:
            row = next(csv.DictReader(stream, delimiter="\t"), None)
        if row:
            memory = 0.0 if row["max_rss"] in {"NA", "-"} else float(row["max_rss"])
            taken[file.relative_to(folder).parts[0].removesuffix(".tsv")].append((float(row["s"]), memory))
    return taken


def main():
    """Print a table in Markdown."""
    folder = Path(sys.argv[1] if len(sys.argv) == 2 else "results/benchmarks")
    taken, asked = measured(folder), requests()
    if not taken:
        sys.exit(f"error: {folder} holds no benchmark files (*.tsv); run the workflow first, or name its folder")
    print("| rule | jobs | mean | longest | asked | most memory | asked |\n|---|--:|--:|--:|--:|--:|--:|")
    for rule, jobs in sorted(taken.items()):
        seconds, memory = zip(*jobs, strict=True)
        time = f"{sum(seconds) / len(jobs):.0f} s | {max(seconds):.0f} s | {asked[rule].get('runtime', '–')} min"
        print(f"| `{rule}` | {len(jobs)} | {time} | {max(memory):.0f} MB | {asked[rule].get('mem_mb', '–')} MB |")


if __name__ == "__main__":
    main()
