"""A commit as files, and files as that commit again: the code revision of an archive.

An archive holds the files of one commit and the commit object itself, but no history. From the two, git computes the
commit's name anew: the files are those of the revision, or the name does not come out.
"""

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

from meanfield.errors import DataError

# Neither settings of the user nor of the machine may change what git makes of the bytes of a file.
_PLAIN = ("-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.quotePath=false")


class File(NamedTuple):
    """A file of a commit."""

    content: bytes
    executable: bool


class Commit(NamedTuple):
    """A commit with its files."""

    revision: str
    text: bytes  # the commit object, as git keeps it
    files: dict[str, File]


def run_git(folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    """Return what git answers in a folder.

    Raises
    ------
    DataError
        If git is missing or fails; with the last line that it gave.

    """
    # Inside a hook, git's own variables would lead it to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *_PLAIN, *arguments]
    try:
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, env=environment, check=False)
    except OSError as error:
        raise DataError(f"git: cannot be run ({error.strerror}); install it") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"]
        raise DataError(f"git {arguments[0]}: {lines[-1]}")
    return done.stdout


def committed(folder: Path, besides: tuple[str, ...] = ()) -> Commit:
    """Return the commit that a checkout stands at.

    Parameters
    ----------
    folder : path
        The root of the checkout.
    besides : tuple of str
        Files that may be there without being part of it, such as overlays that are packed by themselves.

    Raises
    ------
    DataError
        If the folder is no checkout, or if files differ from the commit. An untracked file in one of the folders
        counts: it can take part in the build. One at the top does not.

    """
    try:
        top = Path(run_git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    except DataError as error:
        raise DataError(f"{folder}: not a git checkout, so there is no revision to archive ({error})") from error
    if top.resolve() != folder.resolve():
        raise DataError(f"{folder}: not the root of a git checkout ({top} is)")
    status = run_git(folder, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames").decode()
    changed = []
    for entry in filter(None, status.split("\0")):
        kind, name = entry[:2], entry[3:]
        if kind != "??" or ("/" in name and name not in besides):
            changed.append(name)
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise DataError(f"the working copy differs from its commit: {shown}; commit or remove that first")
    revision = run_git(folder, "rev-parse", "HEAD").decode().strip()
    files = {}
    with tarfile.open(fileobj=io.BytesIO(run_git(folder, "archive", "--format=tar", revision))) as tar:
        for member in tar:
            if member.isfile():
                files[member.name] = File(tar.extractfile(member).read(), bool(member.mode & 0o100))
            elif not member.isdir():
                raise DataError(f"{member.name}: neither a file nor a folder; the archive holds plain files only")
    return Commit(revision, run_git(folder, "cat-file", "commit", revision), files)


def commit_time(text: bytes) -> int:
    """Return when a commit was made, in seconds since 1970."""
    for line in text.split(b"\n\n", 1)[0].splitlines():
        if line.startswith(b"committer "):
            return int(line.split()[-2])
    raise DataError("the commit object names no committer; the archive is damaged")


def restore(folder: Path, revision: str, text: bytes) -> None:
    """Make a folder that holds exactly the files of a commit a checkout of it, without its history.

    Jobs ask git which revision they are; the answer is that of the checkout the archive was made from.

    Raises
    ------
    DataError
        If the files are not those of the revision.

    """
    kind = "sha256" if len(revision) == 64 else "sha1"
    run_git(folder, "init", "--quiet", "--template=", f"--object-format={kind}")
    # The archive's names are checked; what the source's .gitignore says does not matter here.
    run_git(folder, "add", "--all", "--force")
    tree = run_git(folder, "write-tree").decode().strip()
    named = text.split(b"\n", 1)[0].decode(errors="replace").removeprefix("tree ")
    if named != tree:
        raise DataError(
            f"the source is not that of revision {revision[:12]}: its tree is {tree[:12]}, not {named[:12]}"
        )
    made = run_git(folder, "hash-object", "-t", "commit", "-w", "--stdin", given=text).decode().strip()
    if made != revision:
        raise DataError(f"the commit object is not that of revision {revision[:12]}: it is {made[:12]}")
    (folder / ".git/shallow").write_text(f"{revision}\n", encoding="ascii")
    run_git(folder, "update-ref", "HEAD", revision)
