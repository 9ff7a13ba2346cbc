"""Check an archive, rebuild figures from it in a folder of their own, and compare them byte for byte.

The archive may come from anyone: it is read with suspicion, and nothing of it is written before every name and size
has been looked at. Rebuilding runs the archived source, as running any workflow does; checking alone does not.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from meanfield import archive, checkout, provenance, reader, words
from meanfield.errors import DataError
from meanfield.images import sources

REPORT = "report"
DATASETS = "datasets"
# An archive of ours unpacks to a few times its size; what claims to be far larger was made to fill a disk.
_LARGEST_FACTOR = 40
_LARGEST_BASE = 1 << 28  # a small archive may be all text [bytes]
_MOST_FILES = 200_000
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_SAME_VALUES = "the same values, made differently"
# What a card must hold.
_CARD = {
    "format": int,
    "name": str,
    "version": str,
    "revision": str,
    "overlays": list,
    "results": str,
    "figures": dict,
    "versions": dict,
}


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive whose names, kinds and sizes are those of an archive of ours.

    Raises
    ------
    DataError
        If it is missing, no zip file, or if anything in it could be written anywhere but into a folder of its own.

    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not an archive of this project (not a complete zip file: {error})") from error
    try:
        _inspect(opened.infolist(), path)
    except DataError:
        opened.close()
        raise
    return opened


def _inspect(infos: list[zipfile.ZipInfo], path: Path) -> None:
    if len(infos) > _MOST_FILES:
        raise DataError(f"{path}: {len(infos)} files found, at most {_MOST_FILES} allowed")
    seen: set[str] = set()
    for info in infos:
        # zipfile itself cuts names at a NUL; what stood in the file is in orig_filename.
        name = info.orig_filename
        parts = name.split("/")
        if not name.isprintable() or "\\" in name or ":" in name or not set(parts).isdisjoint(("", ".", "..")):
            raise DataError(f"{path}: refused: name {words.show(name)} leads out of the folder or is no plain name")
        if ".git" in (part.casefold() for part in parts):
            raise DataError(f"{path}: refused: {words.show(name)} belongs to git")
        # Two names that a file system may take for one would overwrite each other.
        if name.casefold() in seen:
            raise DataError(f"{path}: refused: {words.show(name)} is there twice")
        seen.add(name.casefold())
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise DataError(f"{path}: refused: {words.show(name)} is a link, a folder or a device, not a plain file")
        if info.flag_bits & 1:
            raise DataError(f"{path}: refused: {words.show(name)} is encrypted")
    for name in seen:
        if any(str(parent) in seen for parent in PurePosixPath(name).parents):
            raise DataError(f"{path}: refused: {words.show(name)} lies in a folder that is a file too")
    total, allowed = sum(info.file_size for info in infos), _LARGEST_BASE + _LARGEST_FACTOR * path.stat().st_size
    if total > allowed:
        raise DataError(f"{path}: refused: unpacks to {total} bytes, at most {allowed} allowed for its size")


def digest(opened: zipfile.ZipFile, name: str) -> str | None:
    """Return the SHA-256 of a file of an archive, in hexadecimal; None if it is damaged."""
    found = hashlib.sha256()
    try:
        with opened.open(name) as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return None
    return found.hexdigest()


def _read(opened: zipfile.ZipFile, name: str) -> bytes:
    try:
        return opened.read(name)
    except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{opened.filename}: {name} is missing or damaged: not an archive of this project") from error


def listed(opened: zipfile.ZipFile) -> dict[str, str]:
    """Return the SHA-256 of every file that the manifest lists, by name."""
    found = {}
    for n, line in enumerate(_read(opened, archive.MANIFEST).decode(errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise DataError(f"{archive.MANIFEST}: line {n}: {words.show(line)} found, a SHA-256 and a name needed")
        if match[2] in found:
            raise DataError(f"{archive.MANIFEST}: line {n}: {match[2]} is there twice")
        found[match[2]] = match[1]
    return found


def problems(opened: zipfile.ZipFile) -> list[str]:
    """Return how an archive differs from its manifest, one line per file."""
    wanted = listed(opened)
    there = {info.filename for info in opened.infolist()} - {archive.MANIFEST}
    lines = [f"{name}: missing" for name in sorted(wanted.keys() - there)]
    lines += [f"{name}: extra, not in {archive.MANIFEST}" for name in sorted(there - wanted.keys())]
    for name in sorted(wanted.keys() & there):
        found = digest(opened, name)
        if found != wanted[name]:
            lines.append(f"{name}: " + ("damaged" if found is None else f"differs from {archive.MANIFEST}"))
    return lines


def read_card(opened: zipfile.ZipFile) -> dict[str, Any]:
    """Return what an archive says of itself.

    Raises
    ------
    DataError
        If an entry is missing or is not what it should be.

    """
    try:
        card = json.loads(_read(opened, archive.CARD))
    except ValueError as error:
        raise DataError(f"{archive.CARD}: not JSON: {error}") from error
    if not isinstance(card, dict):
        raise DataError(f"{archive.CARD}: {words.kind(card)} found, mapping needed")
    for key, kind in _CARD.items():
        if not isinstance(card.get(key), kind):
            raise DataError(f"{archive.CARD}: {key}: {words.kind(card.get(key))} found, {words.kind(kind())} needed")
    if card["format"] != archive.FORMAT:
        raise DataError(
            f"{archive.CARD}: format: {card['format']} found, {archive.FORMAT} needed; use its own revision"
        )
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", card["revision"]):
        raise DataError(f"{archive.CARD}: revision: {words.show(card['revision'])} found, a full revision needed")
    names = {info.filename for info in opened.infolist()}
    for overlay in card["overlays"]:
        if overlay not in names:
            raise DataError(f"{archive.CARD}: overlays: {words.show(overlay)} is not in the archive")
    results = card["results"]
    # The names of the archive were looked at: a folder that has files in it is one of them.
    if not any(name.startswith(f"{results}/") for name in names):
        raise DataError(f"{archive.CARD}: results: no file of the archive lies in {words.show(results)}")
    return card


def chosen(card: dict[str, Any], figures: list[str]) -> list[str]:
    """Return what is to be rebuilt: the chosen figures, or all of them and the report."""
    known = [*card["figures"], REPORT]
    for name in figures:
        if name not in known:
            raise DataError(words.unknown("figure", name, known))
    return list(dict.fromkeys(figures)) or known


def unpack(opened: zipfile.ZipFile, names: list[str], folder: Path, moment: float) -> None:
    """Write files of an archive into a folder, all with the same time: none is newer than what was made from it."""
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        info = opened.getinfo(name)
        with opened.open(info) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
        target.chmod(0o755 if (info.external_attr >> 16) & 0o100 else 0o644)
        os.utime(target, (moment, moment))


class Row(NamedTuple):
    """How the files of one figure, of the report or of the datasets compare."""

    name: str
    identical: list[str]
    differing: list[str]  # file and why


def rebuild(opened: zipfile.ZipFile, figures: list[str], folder: Path, *, deep: bool, cores: str) -> list[Row]:
    """Rebuild figures of a checked archive in an empty folder, and compare.

    Parameters
    ----------
    opened : zipfile.ZipFile
        The archive, checked.
    figures : list of str
        Names of figures, ``report`` among them for the report; see `chosen`.
    folder : path
        Where to rebuild.
    deep : bool
        Whether to simulate, solve and analyse anew, and compare the datasets too; otherwise, figures are drawn from the
        archived datasets.
    cores : str
        What Snakemake may use.

    """
    card, results = read_card(opened), read_card(opened)["results"]
    names = sorted(info.filename for info in opened.infolist())
    described = {archive.CARD, archive.COMMIT, archive.CRATE, archive.MANIFEST, *card["overlays"]}
    source_overlays = [name for name in card["overlays"] if not name.startswith(f"{archive.OVERLAYS}/")]
    below = [name for name in names if name.startswith(f"{results}/") and _generated(name, results)]
    source = [name for name in names if name not in {*below, *described}] + source_overlays
    total = sum(info.file_size for info in opened.infolist())
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < 2 * total:
        raise DataError(f"{folder}: less than {2 * total >> 20} MB free, which unpacking and rebuilding may take")
    # A time of its own for all, so that nothing looks newer than what was made from it.
    moment = float(checkout.commit_time(_read(opened, archive.COMMIT)))
    unpack(opened, source, folder, moment)
    checkout.restore(folder, card["revision"], _read(opened, archive.COMMIT))
    unpack(opened, [name for name in card["overlays"] if name not in source], folder, moment)

    drawn = {figure: _starting(below, f"{results}/figures/{figure}.") for figure in figures if figure != REPORT}
    for figure, files in drawn.items():
        if not files:
            raise DataError(f"{figure}: the archive has no file of this figure")
    datasets = [name for name in below if name.endswith(".nc")]
    run = _Run(folder, card["overlays"], cores)
    if drawn:
        if not deep:
            unpack(opened, datasets, folder, moment)
        # Snakemake has no records of the archived datasets; it takes them as they are where it may only draw.
        run([name for files in drawn.values() for name in files], *([] if deep else ["plot_figure"]))
    rows = [_compared(opened, folder, figure, files) for figure, files in drawn.items()]
    if deep:
        made = [name for name in datasets if (folder / name).is_file()]
        rows.append(_compared(opened, folder, DATASETS, made))
    if REPORT in figures:
        pages = [name for name in below if name in (f"{results}/report/report.pdf", f"{results}/report/report.html")]
        # Its numbers, run times among them, are the archived ones; figures that were not drawn anew are, too.
        laid = [name for name in below if name not in pages and not (folder / name).is_file()]
        unpack(opened, laid, folder, moment)
        run(pages, "build_report", "build_web")
        rows.append(_compared(opened, folder, REPORT, pages))
    return rows


def _generated(name: str, results: str) -> bool:
    # The folder of results has a README that is part of the source.
    return name.removeprefix(f"{results}/").count("/") > 0


def _starting(names: list[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]


class _Run(NamedTuple):
    """How Snakemake is called in the folder of the archived source."""

    folder: Path
    overlays: list[str]
    cores: str

    def __call__(self, targets: list[str], *rules: str) -> None:
        command = [sys.executable, "-m", "snakemake", *targets, "--rerun-triggers", "mtime", "--quiet", "rules"]
        command += ["--allowed-rules", *rules] if rules else []
        command += ["--configfile", *self.overlays] if self.overlays else []
        # Of this environment, the packages and nothing else: neither the package's source nor a profile of the user.
        left_out = ("PYTHONPATH", "NUMBA_CACHE_DIR", "SNAKEMAKE_PROFILE")
        environment = {
            name: value for name, value in os.environ.items() if name not in left_out and not name.startswith("GIT_")
        }
        digits = environment.get(sources.VARIABLE) or "data/mnist"
        if Path(digits).is_dir():
            environment[sources.VARIABLE] = str(Path(digits).resolve())
        done = subprocess.run(
            [*command, "--cores", self.cores], cwd=self.folder, env=environment, stdout=sys.stderr, check=False
        )
        if done.returncode:
            raise DataError("the archived source could not be run (see above); --keep FOLDER leaves its logs to read")


def _compared(opened: zipfile.ZipFile, folder: Path, name: str, files: list[str]) -> Row:
    identical, differing = [], []
    for file in files:
        if not (folder / file).is_file():
            differing.append(f"{file}: not rebuilt")
            continue
        if provenance.sha256(folder / file) == digest(opened, file):
            identical.append(file)
        else:
            differing.append(f"{file}: {_how(opened, folder, file)}")
    return Row(name, identical, differing)


def _how(opened: zipfile.ZipFile, folder: Path, file: str) -> str:
    """Return in a few words how a rebuilt file differs from the archived one."""
    archived = folder / f"{file}.archived{PurePosixPath(file).suffix}"
    archived.write_bytes(opened.read(file))
    try:
        if file.endswith(".nc"):
            found = reader.compare(archived, folder / file)
            if found.differences:
                return f"other values ({found.differences[0]})"
            return _SAME_VALUES + (f" ({found.provenance[0]})" if found.provenance else "")
        one, other = archived.read_bytes(), (folder / file).read_bytes()
        first = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        return f"differs from byte {first} on ({len(one)} and {len(other)} bytes)"
    finally:
        archived.unlink()


def table(rows: list[Row]) -> str:
    """Return the comparison as text: what, of how many files which are identical, and how the others differ."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        endings = sorted({PurePosixPath(name).suffix[1:] for name in row.identical})
        count = f"{len(row.identical)} files" if len(row.identical) > 3 else " ".join(endings)
        if row.identical:
            lines.append(f"{row.name:<{width}}  identical  {count}")
        lines += [f"{row.name:<{width}}  DIFFERS    {line}" for line in row.differing]
        if not row.identical and not row.differing:
            lines.append(f"{row.name:<{width}}  nothing to compare")
    return "\n".join(lines)


def other_versions(opened: zipfile.ZipFile, card: dict[str, Any]) -> list[str]:
    """Return the packages, and Python, whose installed versions are not those of the archive's lock, a phrase each."""
    lock = _read(opened, "envs/requirements.lock").decode(errors="replace")
    wanted = dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", lock, re.MULTILINE))
    found = []
    for name, version in wanted.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # the lock covers other systems too
        if installed != version:
            found.append(f"{name} {installed} (locked: {version})")
    python = ".".join(map(str, sys.version_info[:3]))
    if card["versions"].get("python", python) != python:
        found.append(f"Python {python} (archived: {card['versions']['python']})")
    return found


def why(rows: list[Row], others: list[str]) -> str:
    """Return the line that says how many files differ, and what that may come from.

    Parameters
    ----------
    rows : list of Row
        The comparison.
    others : list of str
        Packages of other versions, from `other_versions`.

    """
    lines = [line for row in rows for line in row.differing]
    if others:
        reason = f"other versions than the archive's may be why: {', '.join(others)}"
    elif all(_SAME_VALUES in line for line in lines):
        reason = "no value does, only who made them: revision, versions or parents"
    else:
        reason = "the installed versions are the locked ones; another kind of processor can round differently"
    return f"{len(lines)} files differ: {reason}"
