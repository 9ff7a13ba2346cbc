"""Copies of the project to run in: the tests never touch the working copy's results."""

import copy
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import meanfield  # noqa: F401  (points numba at the folder of this state of the source)

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tiny.yaml"
# Kinds of jobs at the tiny scale that no figure asks for there: a run with an inner loop, a tuned run, a control of it
# and one of a fixed step, a sweep with a threshold; the anisotropic problem with its limits, a sweep and a width study.
EXTRA = [
    f"results/analysis/{item}.nc"
    for item in (
        "isotropic/mf_homsgld", "isotropic/nesterov_control", "isotropic/tuned_nesterov_control",
        "isotropic/tuned_nesterov", "nonmonotone_near/escape_sgd", "anisotropic/limits", "anisotropic/sgd",
        "anisotropic/langevin", "anisotropic/tune_sgd", "anisotropic/width_study",
    )
]  # fmt: skip

# Published: d, the largest separation at which a single sphere is the optimal radial law, its norm and its risk there.
SPHERE_THRESHOLDS = [
    (20, 0.37763, 1.6039, 0.14276),
    (40, 0.43101, 1.6742, 0.05456),
    (80, 0.45344, 1.7108, 0.02409),
    (160, 0.46400, 1.7299, 0.01132),
    (320, 0.46915, 1.7396, 0.00548),
    (640, 0.47169, 1.7445, 0.00270),
    (None, 0.474219, 1.749455, 0.0),
]


def load(name, folder="workflow_scripts"):
    """Import a script by its name, as a module."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def changed(base, path, value):
    """Return a copy of a configuration with another value at a path of keys and indices, joined by dots."""
    config = copy.deepcopy(base)
    *parents, last = path.split(".")
    block = config
    for part in parents:
        block = block[int(part) if isinstance(block, list) else part]
    block[last] = value
    return config


def digests(folder: Path, endings) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder that has one of the endings, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in endings)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Copies of the package whose compiled kernels a new copy takes over; numba files them by folder.
DONORS = [ROOT]


def lend_kernels(borrower: Path) -> None:
    """Give a copy of the project the kernels that others have compiled, so that it does not compile them again.

    Numba looks at the size and the time of a source file, which copies keep: edited kernels are compiled anew. So are
    the digests of source files lent, which go by their text.
    """
    cache = Path(os.environ.get("NUMBA_CACHE_DIR", "nowhere"))
    for donor in DONORS:
        packages = [folder / "src" / "meanfield" for folder in (donor, borrower)]
        for module in [packages[0], *(path for path in packages[0].rglob("*") if path.is_dir())]:
            target = packages[1] / module.relative_to(packages[0])
            ours, theirs = (
                cache / f"{path.name}_{hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()}"
                for path in (module, target)
            )
            if ours.is_dir():
                shutil.copytree(ours, theirs, dirs_exist_ok=True)
        names = [hashlib.sha256(str(path).encode()).hexdigest()[:16] for path in packages]
        for marker in cache.glob(f"warm-{names[0]}-*"):
            marker.with_name(marker.name.replace(*names)).touch()
        digests_of, wanted = (folder / "__pycache__/digests.json" for folder in packages)
        if digests_of.is_file():
            wanted.parent.mkdir(exist_ok=True)
            shutil.copy2(digests_of, wanted)


class Project:
    """A copy of the project, with the snakemake of this environment."""

    def __init__(self, folder: Path):
        self.folder = folder
        files = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        for name in files:
            source = ROOT / name
            if source.is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        lend_kernels(folder)
        self.overlays = ["tests/tiny.yaml"]

    def path(self, name: str) -> Path:
        return self.folder / name

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        # A list-valued option must not swallow the targets: it comes last but one, closed by --cores.
        overlays = ["--configfile", *self.overlays] if self.overlays else []
        return [sys.executable, "-m", "snakemake", *arguments, *overlays, "--cores", str(cores)]

    def run(
        self, *arguments: str, cores: int = 2, check: bool = True, timeout: float = 1800, **options
    ) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.folder, capture_output=True, text=True, timeout=timeout, env=environment, check=False, **options,
        )  # fmt: skip
        if check and done.returncode:
            pytest.fail(f"snakemake {' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Python in the copy, with the copy's package."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300,
            env=environment, check=True,
        )  # fmt: skip

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run plans."""
        text = self.run("--dry-run", *arguments).stdout
        if "Job stats:" not in text:
            return {}
        rows = text.split("Job stats:")[1].split("\n\n")[0].splitlines()
        counts = {}
        for row in rows:
            parts = row.split()
            if len(parts) == 2 and parts[1].isdigit() and parts[0] != "total":
                counts[parts[0]] = int(parts[1])
        return counts

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.path(name)
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="session")
def configuration() -> dict:
    """The configuration of the repository as it is written."""
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def pair_folder(configuration: dict) -> Path:
    """A folder with the 10,000 images of MNIST: that of MEANFIELD_DIGITS, or one that the configuration lists."""
    given = os.environ.get("MEANFIELD_DIGITS")
    folders = [Path(given)] if given else [ROOT / name for name in configuration["data"]["digits"]["folders"]]
    for folder in folders:
        if list(folder.glob("t10k-images-idx3-ubyte*")) and list(folder.glob("t10k-labels-idx1-ubyte*")):
            return folder.resolve()
    pytest.skip("the MNIST files t10k-* are not here: set MEANFIELD_DIGITS, or put them into data/mnist")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project with the tiny scale."""
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny scale, built once on two cores; tests only read it, or copy it."""
    copy = Project(tmp_path_factory.mktemp("built") / "project")
    copy.run("all", *EXTRA, timeout=3600)
    DONORS.append(copy.folder)
    return copy


@pytest.fixture
def rebuilt(built: Project, tmp_path: Path) -> Project:
    """A private copy of the built project, to edit and to damage."""
    shutil.copytree(built.folder, tmp_path / "project", symlinks=True)
    copy = object.__new__(Project)
    copy.folder = tmp_path / "project"
    lend_kernels(copy.folder)
    copy.overlays = list(built.overlays)
    return copy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the workflow first: they share one built project and take half of the time."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Return who deals out the tests to several processes: all of the workflow to one, any other file by file.

    The marks of xdist for that, xdist_group, are lost on the pytest that is locked here.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "workflow" if "workflow" in Path(file).parts else file

    return ByFile(config, log)
