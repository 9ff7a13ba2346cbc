"""The place of compiled code: it follows the source of the kernels, and nothing else."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meanfield import caches, warm_up

PACKAGE = Path(__file__).resolve().parents[2] / "src/meanfield"


@pytest.fixture
def copy(tmp_path):
    """A private copy of the package, without what is compiled."""
    shutil.copytree(PACKAGE, tmp_path / "src/meanfield", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def folder(copy, base=None, code="import meanfield, os; print(os.environ.get('NUMBA_CACHE_DIR', 'unset'))"):
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    environment["PYTHONPATH"] = str(copy / "src")
    if base is not None:
        environment["NUMBA_CACHE_DIR"] = str(base)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def edit(copy, name):
    file = copy / "src/meanfield" / name
    file.write_text(file.read_text(encoding="utf-8") + "\nX = 1\n", encoding="utf-8")


def test_an_edit_of_any_kernel_module_moves_the_cache(copy):
    before = folder(copy, copy / "cache")
    assert before.parent == copy / "cache"
    assert before.is_dir()
    # `fill_block` is inlined into the block kernel: numba alone would go on using the old one.
    edit(copy, "kernels/streams.py")
    assert folder(copy, copy / "cache") != before


def test_an_edit_of_a_module_without_compiled_code_does_not(copy):
    before = folder(copy, copy / "cache")
    edit(copy, "plotting.py")
    assert folder(copy, copy / "cache") == before


def test_child_processes_share_the_folder(copy):
    nested = (
        "import meanfield, subprocess, sys; subprocess.run([sys.executable, '-c', "
        + repr("import meanfield, os; print(os.environ['NUMBA_CACHE_DIR'])")
        + "], check=True)"
    )
    assert folder(copy, copy / "cache", nested) == folder(copy, copy / "cache")


def test_without_a_choice_the_cache_is_beside_the_package(copy):
    assert folder(copy).parent == copy / "src/meanfield/__pycache__/numba"


def test_a_base_that_cannot_be_a_folder_leaves_the_choice_to_numba(copy):
    (copy / "file").write_text("", encoding="utf-8")
    assert folder(copy, copy / "file") == copy / "file"


def test_folders_that_nobody_uses_go_away(copy):
    base = copy / "cache"
    for name, days in [("meanfield-old", 30), ("meanfield-new", 1), ("other", 30)]:
        (base / name).mkdir(parents=True)
        when = time.time() - days * 86400
        os.utime(base / name, (when, when))
    folder(copy, base)
    assert {path.name for path in base.iterdir() if not path.name.startswith("meanfield-")} == {"other"}
    assert (base / "meanfield-new").exists()
    assert not (base / "meanfield-old").exists()


def test_the_warm_up_compiles_once_and_says_so(copy):
    # The group of kernels that compiles fastest; all take minutes.
    code = (
        "from meanfield import caches; caches.warm_up(['float64'], ['spin3']); "
        "import os; print(os.environ['NUMBA_CACHE_DIR'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "NUMBA_CACHE_DIR": str(copy / "cache")}
    said = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        said.append(done.stderr)
    assert said == ["compiling the kernels (once for this state of their source)\n", ""]
    compiled = {path.name.split(".")[1].rsplit("-", 1)[0] for path in Path(done.stdout.strip()).rglob("*.nbi")}
    assert compiled == {"_advance", "_advance_flow", "_iterate", "fill_block"}


def compiled_by(shares):
    """Return the pairs of a group and a precision that the processes of a warm-up compile."""
    types, groups = ("float32", "float64"), [*warm_up.GROUPS]
    return [(group, one) for share in shares for group in share if group in groups for one in types if one in share]


def test_every_group_of_kernels_is_in_one_share_in_each_precision():
    found = compiled_by(caches.shares(["float32", "float64"]))
    of_any = {"limits": ["float64"]}
    expected = [(group, one) for group in warm_up.GROUPS for one in of_any.get(group, ["float32", "float64"])]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("precisions", "groups", "expected"),
    [
        (["float32"], ["networks", "limits"], [["float32", "networks"], ["limits"]]),
        (["float32"], ["digits"], [["float32", "digits"]]),
        (["float64"], ["plane"], [["float64", "plane"]]),
        ([], ["limits"], [["limits"]]),
        ([], ["networks"], []),
    ],
)
def test_shares_hold_what_is_asked_for(precisions, groups, expected):
    assert caches.shares(precisions, groups) == expected


def test_the_warm_up_without_a_choice_reaches_the_kernels_of_every_family():
    # In a process of its own, with what is compiled already: a kernel has a signature once it was called.
    code = (
        "import sys; from meanfield.warm_up import compile_kernels; compile_kernels(['float64']); "
        "modules = [vars(module) for name, module in sys.modules.items() if name.startswith('meanfield.')]; "
        "print(*{name for one in modules for name, value in one.items() if getattr(value, 'signatures', ())})"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    called = {*done.stdout.split()}
    assert {"_advance", "_sum_of_pairs", "_run_block", "fill_block", "integrate", "add_variation"} <= called
