"""What the rules need from Python: code digests and the parameters of each job. No numerics."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "meanfield"
# The registries are tables of module names: a job's digest covers the entries it uses instead of the table, so that
# a new entry reruns nothing. Logs, error classes and the place of compiled code change no result.
OPEN_MODULES = {"meanfield.registry", "meanfield.logs", "meanfield.errors", "meanfield.caches"}


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


def import_closure(script: str | Path, modules: tuple[str, ...] = (), *, source: str | Path) -> dict[str, bytes]:
    """Return the code of the files that a script and some modules import from the package, directly or indirectly.

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
        What each file does, without comments, docstrings and layout, by module name; the script's own is under its
        file name.

    """
    source = Path(source)
    script = Path(script)
    codes: dict[str, bytes] = {}
    queue: list[tuple[str, Path]] = [(script.name, script)]
    for name in modules:
        path = _module_file(name, source)
        if path is None:
            msg = f"module {name} has no file under {source}"
            raise ValueError(msg)
        queue.append((name, path))
    while queue:
        name, path = queue.pop()
        if name in codes:
            continue
        imported, codes[name] = _parsed(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        for item in imported - OPEN_MODULES:
            found = _module_file(item, source)
            if found is not None and item not in codes:
                queue.append((item, found))
    return codes


@functools.lru_cache(maxsize=1024)
def _parsed(text: str, name: str, is_package: bool) -> tuple[frozenset[str], bytes]:
    # The modules that a file imports, and what it does. Dozens of jobs share a file: it is parsed once.
    tree = ast.parse(text, filename=name)
    imported = _imported_names(tree, name, is_package)
    # A package's __init__ runs before its modules do.
    parents = [".".join(item.split(".")[:n]) for item in imported for n in range(1, item.count(".") + 1)]
    return frozenset([*imported, *parents]), ast.dump(_without_docstrings(tree)).encode()


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
        digest.update(name.encode())
        digest.update(code)
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
