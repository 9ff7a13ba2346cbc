"""How long each figure takes from nothing: the jobs it needs, by Snakemake's own plan, and their benchmark files."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from meanfield.errors import DataError


class Job(NamedTuple):
    """One job of the plan."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str | None


class Cost(NamedTuple):
    """What a figure needs from nothing."""

    jobs: int
    measured: int  # of these, jobs with a benchmark file
    seconds: float  # wall-clock time of the measured jobs, one after the other [s]
    processor: float  # processor time of the measured jobs [s]
    longest: float  # wall-clock time of the longest chain of jobs that wait for each other [s]


def plan(overlays: list[str], target: str = "all", *, force: bool = True) -> list[Job]:
    """Return all jobs that a target needs from nothing, or that it still needs, as a dry run of Snakemake lists them.

    Raises
    ------
    DataError
        If there is no plan; with the last line that Snakemake gave.

    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", target]
    command += ["--forceall"] if force else []
    command += ["--configfile", *overlays] if overlays else []
    answer = subprocess.run([*command, "--cores", "1"], capture_output=True, text=True, check=False)
    if answer.returncode:
        last = [line for line in answer.stderr.splitlines() if line.strip()][-1:] or ["no answer"]
        raise DataError(f"snakemake gave no plan: {last[0].removeprefix('error: ')}")
    return parse_plan(answer.stdout)


def parse_plan(text: str) -> list[Job]:
    """Return the jobs of a dry run's output: blocks of indented ``key: value`` lines behind ``rule name:``."""
    jobs: list[Job] = []
    rule, block = None, {}

    def close() -> None:
        if rule:
            jobs.append(Job(rule, _files(block.get("input")), _files(block.get("output")), block.get("benchmark")))

    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] in ("rule", "localrule") and line.endswith(":") and line[0] != " ":
            close()
            rule, block = words[1][:-1], {}
        elif rule and line.startswith("    ") and ": " in line:
            key, _, value = line.strip().partition(": ")
            block.setdefault(key, value)
        elif line and line[0] != " " and not line.startswith("["):
            close()
            rule = None
    close()
    return jobs


def _files(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def measure(benchmark: str | Path | None) -> tuple[float, float] | None:
    """Return wall-clock and processor time of a benchmark file [s]; None if there is none."""
    if benchmark is None or not Path(benchmark).is_file():
        return None
    with Path(benchmark).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    try:
        wall = sum(float(row["s"]) for row in rows) / len(rows)
        # A job shorter than the sampling interval has no processor time on record; it took all of its own.
        spent = [row.get("cpu_time", "-") for row in rows]
        processor = [wall if value in ("-", "NA", "", None) else float(value) for value in spent]
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise DataError(f"{benchmark}: not a benchmark file of Snakemake; delete it") from error
    return wall, max(sum(processor) / len(rows), 0.0)


def cost(jobs: list[Job], target: str) -> Cost:
    """Return what the file `target` needs, of the jobs of a plan."""
    made = {name: n for n, job in enumerate(jobs) for name in job.outputs}
    if target not in made:
        raise DataError(f"{target}: no job of the plan makes it")
    times = {}
    finish: dict[int, float] = {}

    def walk(start: int) -> float:
        if start not in finish:
            finish[start] = 0.0  # a plan has no cycles; this only guards the walk
            before = [walk(made[name]) for name in jobs[start].inputs if name in made]
            times[start] = measure(jobs[start].benchmark)
            finish[start] = (times[start] or (0.0, 0.0))[0] + max(before, default=0.0)
        return finish[start]

    longest = walk(made[target])
    known = [found for found in times.values() if found]
    return Cost(len(times), len(known), sum(w for w, _ in known), sum(p for _, p in known), longest)


def figure_costs(jobs: list[Job], figures: list[str]) -> dict[str, Cost]:
    """Return what each figure needs."""
    found = {}
    for figure in figures:
        ending = f"/figures/{figure}.svg"
        target = next((name for job in jobs for name in job.outputs if name.endswith(ending)), None)
        if target is None:
            raise DataError(f"{figure}: no job of the plan draws it")
        found[figure] = cost(jobs, target)
    return found


def duration(seconds: float) -> str:
    """Return a time in words: 12 s, 3.4 min, 1.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def page(costs: dict[str, Cost]) -> str:
    """Return the table of all figures as Markdown."""
    lines = [
        "| figure | jobs | measured | processor time | one after the other | longest chain |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| `{figure}` | {cost.jobs} | {cost.measured} | {duration(cost.processor)} | {duration(cost.seconds)} "
        f"| {duration(cost.longest)} |"
        for figure, cost in costs.items()
    ]
    return "\n".join(lines) + "\n"
