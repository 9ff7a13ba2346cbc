"""Pack what was built, with everything that it was built from, into one file.

The archive is a zip file that unpacks to a project's folder with its results in place: the source at its commit, the
overlays, datasets, figures, report and the benchmark files whose run times the report prints. Four files describe it:
`archive.json` (what `verify` goes by), `git-commit.txt` (the commit object, see `meanfield.checkout`),
`ro-crate-metadata.json` and `manifest-sha256.txt`. The same inputs give the same bytes: no clock, user, machine or
folder enters. Snakemake's records and the logs name hosts and folders and stay out; so do the digits, which are the
work of others.
"""

import hashlib
import json
import re
import shutil
import stat
import time
import zipfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from meanfield import checkout, figure_times, io, metadata, provenance
from meanfield.errors import DataError

NAME = "meanfield-figures"
FORMAT = 1
CARD = "archive.json"
COMMIT = "git-commit.txt"
CRATE = "ro-crate-metadata.json"
MANIFEST = "manifest-sha256.txt"
OVERLAYS = "overlays"
# Compressed already; the others are text.
_STORED = (".nc", ".png", ".pdf", ".gz")
# Files of a run that are no results: parts of datasets that are there as a whole, and data that are not ours.
_LEFT_OUT = re.compile(r"simulations/[^/]+/[^/]+/\d+\.nc|data/.*")


class Member(NamedTuple):
    """A file of an archive."""

    content: Path | bytes
    executable: bool = False

    def size(self) -> int:
        """Return its size [bytes]."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def sha256(self) -> str:
        """Return its SHA-256, in hexadecimal."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        return provenance.sha256(self.content)

    def open(self):
        """Return its content as a stream."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def result_files(jobs: list[figure_times.Job], results: str) -> list[str]:
    """Return the results of a plan's jobs that belong into an archive.

    Parameters
    ----------
    jobs : list of Job
        All jobs of the workflow: a file of an earlier configuration that still lies about is in none of them.
    results : str
        The folder of results.

    """
    made = {name for job in jobs for name in (*job.outputs, *filter(None, [job.benchmark]))}
    below = f"{results}/"
    return sorted(name for name in made if name.startswith(below) and not _LEFT_OUT.fullmatch(name.removeprefix(below)))


def require_current(pending: list[figure_times.Job]) -> None:
    """Refuse results that are missing or stale, by the jobs that Snakemake would run."""
    pending = [job for job in pending if job.outputs]  # the others only collect
    if pending:
        rules = sorted({job.rule for job in pending})
        shown = ", ".join(rules[:6]) + (" …" if len(rules) > 6 else "")
        raise DataError(f"the results are not up to date: {len(pending)} jobs would run ({shown}); build them first")


def overlay_members(overlays: list[str], folder: Path, tracked: dict) -> dict[str, Path | None]:
    """Return the names that overlays have in the archive, and for those that are no part of the source their files."""
    found: dict[str, Path | None] = {}
    for overlay in overlays:
        path = (folder / overlay).resolve()
        inside = path.relative_to(folder.resolve()).as_posix() if path.is_relative_to(folder.resolve()) else None
        name = inside if inside in tracked else f"{OVERLAYS}/{path.name}"
        if name in found:
            raise DataError(f"{overlay}: a second overlay of the name {path.name}; rename one")
        found[name] = None if inside in tracked else path
    return found


def made_with(folder: Path, results: str) -> dict[str, Any]:
    """Return the package versions and code revisions of the datasets, as the report's numbers hold them."""
    path = folder / results / "report/values.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["provenance"]
        return {"versions": dict(found["versions"]), "revisions": sorted(found["revisions"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: missing or damaged; delete it and build it again") from error


def members(
    folder: Path, config: dict, overlays: list[str], files: list[str], commit: checkout.Commit
) -> dict[str, Member]:
    """Return the files of the archive by name, all but for the manifest.

    Parameters
    ----------
    folder : path
        The project's folder.
    config : dict
        The configuration with the overlays merged in.
    overlays : list of str
        The overlays, relative to the folder.
    files : list of str
        The results, relative to the folder.
    commit : Commit
        The source.

    """
    results = results_folder(config)
    packed = {name: Member(file.content, file.executable) for name, file in commit.files.items()}
    for needed in ("Snakefile", "CITATION.cff"):
        if needed not in packed:
            raise DataError(f"{needed}: no such file in revision {commit.revision[:12]}")
    overlay_files = overlay_members(overlays, folder, commit.files)
    added = {name: path for name, path in overlay_files.items() if path}
    added |= {name: folder / name for name in files}
    for name, path in added.items():
        if name in packed:
            raise DataError(f"{name}: generated, and yet part of the source")
        if not path.is_file():
            raise DataError(f"{name}: missing; build the results first")
        packed[name] = Member(path)
    citation = metadata.read_citation(commit.files["CITATION.cff"].content.decode())
    found = made_with(folder, results)
    card = {
        "format": FORMAT,
        "name": NAME,
        "version": citation["version"],
        "revision": commit.revision,
        "overlays": list(overlay_files),
        "results": results,
        "figures": {name: entry["description"] for name, entry in sorted(config["figures"].items())},
        "versions": found["versions"],
        "dataset_revisions": found["revisions"],
    }
    packed[COMMIT] = Member(commit.text)
    packed[CARD] = Member(_json(card))
    # The manifest lists the crate's description and not the other way round.
    sizes = {name: member.size() for name, member in packed.items()}
    packed[CRATE] = Member(_json(metadata.crate(card, citation, sizes, checkout.commit_time(commit.text))))
    return packed


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def results_folder(config: dict) -> str:
    """Return the folder of results, relative to the project's."""
    results = str(PurePosixPath(config.get("pathvars", {}).get("results", "results")))
    if ".." in PurePosixPath(results).parts:
        raise DataError(f"pathvars.results: {results!r} found, a folder inside the project's is needed for an archive")
    return results


def write(path: Path, packed: dict[str, Member], made: int) -> None:
    """Write an archive: sorted names, one time, plain modes, and the manifest.

    Parameters
    ----------
    path : path
        The file to write; it appears when it is complete.
    packed : dict
        The files by name.
    made : int
        The time that all files get, in seconds since 1970.

    """
    lines = [f"{packed[name].sha256()}  {name}\n" for name in sorted(packed)]
    packed = {**packed, MANIFEST: Member("".join(lines).encode())}
    moment = max(time.gmtime(made)[:6], (1980, 1, 1, 0, 0, 0))
    with io.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(packed):
            member = packed[name]
            info = zipfile.ZipInfo(name, moment)
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = (stat.S_IFREG | (0o755 if member.executable else 0o644)) << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            info.file_size = member.size()
            with member.open() as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def default_name(version: str, revision: str, overlays: list[str]) -> str:
    """Return the name of the archive: version, revision, overlays."""
    return "-".join([NAME, version, revision[:12], *(Path(overlay).stem for overlay in overlays)]) + ".zip"


def pack(folder: Path, config: dict, overlays: list[str], output: str | None = None) -> tuple[Path, list[str]]:
    """Archive what a checkout has built.

    Returns
    -------
    tuple
        The file, and what its reader should know, a line each.

    Raises
    ------
    DataError
        If the checkout differs from its commit, if results are missing or stale, or if the file cannot be written.

    """
    results = results_folder(config)
    commit = checkout.committed(folder, tuple(overlays))
    require_current(figure_times.plan(overlays, force=False))
    files = result_files(figure_times.plan(overlays), results)
    packed = members(folder, config, overlays, files, commit)
    card = json.loads(packed[CARD].content)
    path = Path(output) if output else folder / default_name(card["version"], commit.revision, overlays)
    write(path, packed, checkout.commit_time(commit.text))
    others = [one for one in card["dataset_revisions"] if not commit.revision.startswith(one)]
    notes = []
    if others:
        # Up to date by the digests of the code that each job runs, and made while other files were being written.
        notes.append(f"note: datasets were made at {', '.join(others)}; what made them is the same in this revision")
    return path, notes
