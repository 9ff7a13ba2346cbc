"""Disks that are full or cannot be written, and inputs that are gone: the file is named, and nothing half-written."""

import os
import subprocess
from collections import Counter
from pathlib import Path

from tests.reliability.common import Row, digests, quick_project, tally

TARGETS = ("fig03_isotropic_dd", "ext_multiscale")
_NAMED = "named, nothing half-written, right once mended"
_MADE = "made again with the same bytes"


def run(work: Path, count: int, seed: int) -> Row:
    """Run into disks of `count` sizes, then into a read-only one and one whose inputs are gone; needs root."""
    outcomes = Counter()
    calm = quick_project(work / "calm", "tests/tiny.yaml")
    calm.run(*TARGETS)
    truth = digests(calm.path("results"))
    needed = sum(path.stat().st_size for path in calm.path("results").rglob("*") if path.is_file())
    if os.geteuid() == 0:
        for trial in range(count):
            project = quick_project(work / f"disk-{trial}", "tests/tiny.yaml")
            size = max(16384, int(needed * (trial + 0.5) / (count + 1)))
            outcomes[f"full disk: {_on_small_disk(project, size, truth)}"] += 1
        outcomes[f"read-only: {_read_only(quick_project(work / 'read-only', 'tests/tiny.yaml'))}"] += 1
    outcomes[f"missing input: {_missing(calm, truth)}"] += 1
    good = {one for one in outcomes if one.endswith((_NAMED, _MADE))}
    return tally(
        "disks and inputs", "a full disk (tmpfs of a size that runs out), a read-only disk, an input that is gone",
        "the file is named in a line; no wrong file; the same command ends well once there is room", outcomes, good,
    )  # fmt: skip


def _mount(project, *options: str) -> None:
    project.path("results").mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(project.path("results"))]
    subprocess.run(command, check=True)


def _unmount(project) -> None:
    subprocess.run(["umount", str(project.path("results"))], check=True)


def _verdict(project, done, truth: dict, *words: str) -> str:
    text = done.stdout + done.stderr
    if done.returncode == 0:
        return "went through"
    if "Traceback" in text:
        return "traceback"
    if not any(word in text for word in words):
        return "no word on it"
    wrong = [name for name, digest in digests(project.path("results")).items() if truth.get(name) != digest]
    return f"{len(wrong)} wrong files" if wrong else ""


def _on_small_disk(project, size: int, truth: dict) -> str:
    _mount(project, f"size={size}")
    try:
        done = project.run(*TARGETS, check=False)
        problem = _verdict(project, done, truth, "No space left", "is the disk full?")
        subprocess.run(["mount", "-o", "remount,size=200m", str(project.path("results"))], check=True)
        project.run(*TARGETS)
        if digests(project.path("results")) != truth:
            problem = "other bytes once there was room"
    finally:
        _unmount(project)
    return problem or _NAMED


def _read_only(project) -> str:
    _mount(project, "ro")
    try:
        done = project.run(*TARGETS, check=False)
        problem = _verdict(project, done, {}, "Read-only file system")
    finally:
        _unmount(project)
    return problem or _NAMED


def _missing(project, truth: dict) -> str:
    gone = project.path("results/analysis/multiscale/hmm.nc")
    whole = gone.read_bytes()
    gone.unlink()
    project.path("results/figures/ext_multiscale.pdf").unlink()
    # A file that vanishes is made again: what no rule makes cannot be missing but for the digits, tried elsewhere.
    done = project.run(*TARGETS, check=False)
    if done.returncode or gone.read_bytes() != whole or digests(project.path("results")) != truth:
        return "not made again"
    return _MADE
