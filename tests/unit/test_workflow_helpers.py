import ast
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from meanfield import workflow
from meanfield.workflow import code_digest, import_closure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / "src/meanfield/sub"
    package.mkdir(parents=True)
    files = {
        "src/meanfield/__init__.py": "",
        "src/meanfield/sub/__init__.py": '"""Doc."""',
        "src/meanfield/a.py": "from meanfield.sub import b\nX = 1\n",
        "src/meanfield/sub/b.py": "from . import c\n",
        "src/meanfield/sub/c.py": "import numpy\nY = 2\n",
        "src/meanfield/unused.py": "Z = 3\n",
        "script.py": "from meanfield.a import X\nif TYPE_CHECKING:\n    from meanfield import unused\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def digest(tree, modules=()):
    return code_digest(tree / "script.py", modules, source=tree / "src")


def test_the_closure_follows_absolute_and_relative_imports_and_packages(tree):
    found = set(import_closure(tree / "script.py", source=tree / "src"))
    assert found == {
        "script.py", "meanfield", "meanfield.a", "meanfield.sub", "meanfield.sub.b", "meanfield.sub.c",
    }  # fmt: skip


def test_prose_does_not_count_and_code_does(tree):
    before = digest(tree)
    file = tree / "src/meanfield/sub/c.py"
    file.write_text('"""A docstring."""\n\nimport numpy  # a comment\n\n\nY = (\n    2\n)\n', encoding="utf-8")
    assert digest(tree) == before
    file.write_text("import numpy\nY = 3\n", encoding="utf-8")
    assert digest(tree) != before


def test_modules_loaded_by_name_count_when_named(tree):
    before = digest(tree)
    (tree / "src/meanfield/unused.py").write_text("Z = 4\n", encoding="utf-8")
    assert digest(tree) == before
    with_module = digest(tree, ("meanfield.unused",))
    (tree / "src/meanfield/unused.py").write_text("Z = 5\n", encoding="utf-8")
    assert digest(tree, ("meanfield.unused",)) != with_module


def test_a_module_that_is_not_there_is_refused(tree):
    with pytest.raises(ValueError, match=r"meanfield\.nowhere has no file"):
        digest(tree, ("meanfield.nowhere",))


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """Return a function that starts with a memory in a file, as a new process does."""

    def start():
        workflow._parsed.cache_clear()
        monkeypatch.setattr(workflow, "_MEMORY", workflow._Memory(tmp_path / "remembered/digests.json"))
        return workflow._MEMORY

    yield start
    workflow._parsed.cache_clear()


def no_parsing(*_, **__):
    raise AssertionError("a file is parsed")


def test_files_that_have_not_changed_are_not_parsed_again(tree, memory, monkeypatch):
    first = memory()
    before = digest(tree)
    first.save()
    memory()
    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", no_parsing)
        assert digest(tree) == before
        (tree / "src/meanfield/a.py").write_text("from meanfield.sub import b\nX = 2\n", encoding="utf-8")
        with pytest.raises(AssertionError, match="a file is parsed"):
            digest(tree)
    assert digest(tree) != before


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", '{"a": 1}', "every entry", "not text"])
def test_a_damaged_memory_counts_as_none(tree, memory, damage):
    first = memory()
    before = digest(tree)
    first.save()
    if damage == "every entry":
        text = json.dumps({key: [["meanfield.unused"], 1] for key in first.used})
        first.file.write_text(text, encoding="utf-8")
    else:
        first.file.write_bytes(b"\xff\xfe" if damage == "not text" else damage.encode())
    again = memory()
    assert digest(tree) == before
    again.save()
    assert json.loads(first.file.read_text(encoding="utf-8")).keys() >= first.used.keys()


def test_a_memory_that_cannot_be_kept_is_no_error(tree, memory):
    first = memory()
    first.file.parent.write_text("a file where the folder should be", encoding="utf-8")
    digest(tree)
    first.save()
    assert first.file.parent.is_file()


def test_older_states_of_the_source_are_forgotten(tree, memory, monkeypatch):
    first = memory()
    digest(tree)
    first.save()
    (tree / "src/meanfield/a.py").write_text("X = 2\n", encoding="utf-8")
    again = memory()
    digest(tree)
    monkeypatch.setattr(workflow._Memory, "LARGEST", len(again.used))
    again.save()
    kept = json.loads(first.file.read_text(encoding="utf-8"))
    assert kept == again.used
    assert not kept.keys() >= first.used.keys()


def test_planning_loads_neither_datasets_nor_scipy():
    families = [f"meanfield.families.{file.stem}" for file in (ROOT / "src/meanfield/families").glob("[a-z]*.py")]
    wanted = [*families, "meanfield.config", "meanfield.ledger", "meanfield.workflow", "meanfield.images.sources"]
    code = f"import sys, {', '.join(wanted)}; print(*{{'xarray', 'pandas', 'scipy', 'numba'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert len(families) >= 10
    assert done.stdout.split() == []


def test_a_new_registry_line_changes_no_digest():
    names = workflow.import_closure(ROOT / "workflow_scripts/simulate_replicates.py", source=ROOT / "src")
    assert "meanfield.registry" not in names
    assert "meanfield.simulation" in names


def test_limits_and_simulations_share_only_what_both_use():
    def closure(script, module):
        return set(import_closure(ROOT / "workflow_scripts" / script, (module,), source=ROOT / "src"))

    simulation = closure("simulate_replicates.py", "meanfield.methods.sgd")
    volume = closure("solve_limit.py", "meanfield.limits.finite_volume")
    assert "meanfield.kernels.block_sgd" in simulation
    assert "meanfield.limits.potentials" not in simulation
    assert "meanfield.limits.potentials" in volume


def test_numerics_know_nothing_of_files():
    for folder in ("problems", "methods", "kernels", "limits"):
        for file in (ROOT / "src/meanfield" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                for name in names:
                    assert name.split(".")[0] not in ("xarray", "netCDF4", "matplotlib", "snakemake"), file
                    assert name not in ("meanfield.io", "meanfield.plotting"), file


@pytest.mark.parametrize(("limit", "stays"), [("100/1s", False), ("100/1m", True), ("3/1s", True)])
def test_only_the_default_limit_on_job_starts_is_lifted(limit, stays):
    from snakemake.scheduling.job_scheduler import JobRateLimiter
    from snakemake.settings.types import MaxJobsPerTimespan

    limiter = JobRateLimiter(MaxJobsPerTimespan.parse_choice(limit))
    scheduler = SimpleNamespace(job_rate_limiter=limiter)
    workflow.lift_default_rate_limit(scheduler)
    assert scheduler.job_rate_limiter is (limiter if stays else None)


def test_snakemake_still_has_the_default_limit_that_is_lifted():
    from snakemake.cli import get_argument_parser

    limit = get_argument_parser().parse_args([]).max_jobs_per_timespan
    assert (limit.max_jobs, limit.timespan) == (100, 1)
