"""What the rules need from Python: code digests and the parameters of each job. No numerics."""

import ast
import atexit
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PACKAGE = "meanfield"
# The registries are tables of module names: a job's digest covers the entries it uses instead of the table, so that
# a new entry reruns nothing. Logs, error classes and the place of compiled code change no result.
OPEN_MODULES = {"meanfield.registry", "meanfield.logs", "meanfield.errors", "meanfield.caches"}
# Of the environment of each job, for the GNU C library: arrays of a few megabytes, which come and go with every risk,
# stay with the process when they are freed. Handed back to the system, their pages are faulted in anew each time, which
# took a third of some jobs. Numbers in bytes; other systems know neither name.
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


def _module_file(name: str, source: Path) -> Path | None:
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return None
    path = source.joinpath(*parts)
    if path.is_dir():
        return path / "__init__.py" if (path / "__init__.py").exists() else None
    path = path.with_suffix(".py")
    return path if path.exists() else None


def _walk_run(tree: ast.AST) -> Iterator[ast.AST]:
    # Every node but those under `if TYPE_CHECKING:`, which never run.
    queue = [tree]
    while queue:
        node = queue.pop()
        yield node
        typing_only = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        queue += node.orelse if typing_only else ast.iter_child_nodes(node)


def _imported_names(tree: ast.AST, module: str, is_package: bool) -> list[str]:
    names = []
    for node in _walk_run(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".") if is_package else module.split(".")[:-1]
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def import_closure(script: str | Path, modules: tuple[str, ...] = (), *, source: str | Path) -> dict[str, str]:
    """Return digests of the files that a script and some modules import from the package, directly or indirectly.

    Parameters
    ----------
    script : path
        A Python file outside the package.
    modules : tuple of str
        Modules that the script loads by name.
    source : path
        The folder that holds the package.

    Returns
    -------
    dict
        A digest of what each file does, without comments, docstrings and layout, by module name; the script's own is
        under its file name.

    """
    source = Path(source)
    script = Path(script)
    digests: dict[str, str] = {}
    queue: list[tuple[str, Path]] = [(script.name, script)]
    for name in modules:
        path = _module_file(name, source)
        if path is None:
            msg = f"module {name} has no file under {source}"
            raise ValueError(msg)
        queue.append((name, path))
    while queue:
        name, path = queue.pop()
        if name in digests:
            continue
        imported, digests[name] = _parsed(path.read_bytes(), name, path.name == "__init__.py")
        for item in imported:
            if item in digests or item in OPEN_MODULES:
                continue
            found = _module_file(item, source)
            if found is not None:
                queue.append((item, found))
    return digests


@functools.lru_cache(maxsize=1024)
def _parsed(text: bytes, name: str, is_package: bool) -> tuple[frozenset[str], str]:
    # The package's modules that a file imports, and a digest of what it does. Dozens of jobs share a file, and most
    # files are those of the last time: each is parsed once.
    key = hashlib.sha256(b"\0".join([_rules_of_parsing(), name.encode(), b"%d" % is_package, text])).hexdigest()
    known = _MEMORY.get(key)
    if known is not None:
        return frozenset(known[0]), known[1]
    tree = ast.parse(text, filename=name)
    imported = _imported_names(tree, name, is_package)
    # A package's __init__ runs before its modules do.
    parents = [".".join(item.split(".")[:n]) for item in imported for n in range(1, item.count(".") + 1)]
    ours = sorted({item for item in (*imported, *parents) if item.split(".")[0] == PACKAGE})
    digest = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
    _MEMORY.put(key, [ours, digest])
    return frozenset(ours), digest


@functools.cache
def _rules_of_parsing() -> bytes:
    # What decides how a file is read, besides its text.
    return sys.version.encode() + hashlib.sha256(Path(__file__).read_bytes()).digest()


class _Memory:
    # What was found in files, by a digest of their text, in a file beside the compiled Python of this package. It is
    # read at the first question and written at the end of the process; where it cannot be, nothing is remembered.
    LARGEST = 2000  # entries; older states of the source are forgotten beyond

    def __init__(self, file: Path):
        self.file = file
        self.used: dict[str, list] = {}
        self.will_save = False

    @functools.cached_property
    def old(self) -> dict[str, list]:
        try:
            return dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def get(self, key: str) -> list | None:
        match self.old.get(key):
            case [list(), str()] as found:
                self.used[key] = found
                return found
        return None

    def put(self, key: str, found: list) -> None:
        self.used[key] = found
        if not self.will_save:
            self.will_save = True
            atexit.register(self.save)

    def save(self) -> None:
        kept = {**self.old, **self.used}
        text = json.dumps(kept if len(kept) <= self.LARGEST else self.used)
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        try:
            self.file.parent.mkdir(exist_ok=True)
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.file)
        except OSError:
            with suppress(OSError):
                draft.unlink()


_MEMORY = _Memory(Path(__file__).parent / "__pycache__/digests.json")


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def code_digest(script: str | Path, modules: tuple[str, ...] = (), *, source: str | Path) -> str:
    """Return a digest of the code that a job runs: its script and what that imports from the package.

    It changes with the code and with nothing else: comments, docstrings and layout do not count, nor does any
    modification time. A rule carries it in `params`, so that an edit reruns exactly the jobs that use the edited
    module. Arguments as in `import_closure`.
    """
    digest = hashlib.sha256()
    for name, code in sorted(import_closure(script, modules, source=source).items()):
        digest.update(f"{name} {code}\n".encode())
    return digest.hexdigest()[:16]


def lift_default_rate_limit(scheduler) -> None:
    """Lift the limit on how fast jobs start, unless the user has set one.

    With a limit, Snakemake's scheduler wakes up once per timespan for every job that it has ever started: hundreds of
    times a second towards the end of a run of some hundred jobs, which takes a good part of a core, and more with more
    jobs. Its default, 100 jobs per second, holds nobody back.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        Before its first job.

    """
    limit = scheduler.job_rate_limiter
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None
