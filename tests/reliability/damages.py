"""Random damages to datasets: refused by name, or without any effect; and what the workflow makes of them."""

import random
from collections import Counter
from pathlib import Path

import xarray as xr

from meanfield import io
from meanfield.errors import DataError
from tests.reliability.common import Row, in_a_child, quick_project, tally

_SECONDS = 60


def damaged(contents: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return the kind of a random damage and the damaged bytes, which differ from the given ones."""
    while True:
        kind = rng.choice(["flipped bit", "flipped bit", "other byte", "truncated", "zeroed block", "block moved"])
        changed = bytearray(contents)
        place = rng.randrange(len(changed))
        length = min(len(changed) - place, rng.choice([8, 64, 512, 4096]))
        if kind == "flipped bit":
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == "other byte":
            changed[place] = rng.randrange(256)
        elif kind == "truncated":
            changed = changed[:place]
        elif kind == "zeroed block":
            changed[place : place + length] = bytes(length)
        else:
            other = rng.randrange(len(changed) - length + 1)
            changed[place : place + length] = changed[other : other + length]
        if changed != contents:
            return kind, bytes(changed)


def read(path: Path, whole: xr.Dataset) -> str:
    """Return what comes of reading a damaged file."""
    try:
        found = io.read_dataset(path)
    except DataError as error:
        one_line = "\n" not in str(error) and path.name in str(error)
        return "refused by name in one line" if one_line else "refused, but not by name in one line"
    return "read without the damage showing" if found.identical(whole) else "WRONG NUMBERS READ"


def run(work: Path, count: int, seed: int) -> list[Row]:
    """Damage datasets of the tiny scale: `count` by the reader, a tenth as many under a figure of the workflow."""
    rng = random.Random(seed)
    project = quick_project(work / "project", "tests/tiny.yaml")
    figures = ("fig03_isotropic_dd", "ext_smoothing", "ext_multiscale")
    project.run(*figures)
    files = sorted(project.path("results").rglob("*.nc"))
    wholes = {file: io.read_dataset(file) for file in files}
    outcomes = Counter()
    target = work / "damaged.nc"
    for _ in range(count):
        file = rng.choice(files)
        kind, contents = damaged(file.read_bytes(), rng)
        target.write_bytes(contents)
        outcomes[f"{kind}: {in_a_child(lambda whole=wholes[file]: read(target, whole), _SECONDS)}"] += 1
    good = {one for one in outcomes if one.endswith(("refused by name in one line", "read without the damage showing"))}
    reader = tally(
        "damages", f"random damage to one of {len(files)} datasets, then read", "refused in a line that names the file",
        outcomes, good,
    )  # fmt: skip
    return [reader, _under_a_figure(project, figures, max(1, count // 30), rng)]


def _under_a_figure(project, figures: tuple, count: int, rng: random.Random) -> Row:
    outcomes = Counter()
    sources = sorted(project.path("results/analysis").rglob("*.nc"))
    for _ in range(count):
        file = rng.choice(sources)
        whole = file.read_bytes()
        before = {path: path.read_bytes() for path in project.path("results/figures").iterdir()}
        kind, contents = damaged(whole, rng)
        file.write_bytes(contents)
        # With content as the only trigger the damaged dataset is not made anew, as after damage on an archive's disk.
        done = project.run(*figures, "--forcerun", "plot_figure", "--rerun-triggers", "params", check=False)
        name = file.relative_to(project.folder).as_posix()
        text = done.stdout + done.stderr
        changed = [p for p, b in before.items() if p.exists() and p.read_bytes() != b]
        if changed:
            outcome = "a figure was drawn with it"
        elif done.returncode and name in text and "Traceback" not in text:
            outcome = "stopped by name, no figure drawn with it"
        else:
            outcome = "other"
        outcomes[f"{kind}: {outcome}"] += 1
        file.write_bytes(whole)
        project.run(*figures, "--rerun-triggers", "params")
    good = {one for one in outcomes if one.endswith("stopped by name, no figure drawn with it")}
    return tally(
        "damages under a figure", "random damage to an analysed dataset, then its figures drawn by the workflow",
        "the job says which file; no figure is drawn with it", outcomes, good,
    )  # fmt: skip
