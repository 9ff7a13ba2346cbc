import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from meanfield import io
from meanfield.errors import DataError
from meanfield.provenance import stamp

ROOT = Path(__file__).resolve().parents[2]


def dataset(n=50):
    values = np.random.default_rng(0).standard_normal((n, 20))
    return stamp(
        xr.Dataset({"risk": io.variable("record neuron", values, "population risk")}),
        title="t", summary="s", rule="r", parameters={"b": 2, "a": [1.5, None]}, seed=2**63,
    )  # fmt: skip


def test_what_is_written_is_read_back(tmp_path):
    file = tmp_path / "deep/er/x.nc"
    io.write_dataset(dataset(), file)
    back = io.read_dataset(file)
    xr.testing.assert_identical(back["risk"], dataset()["risk"])
    assert io.parameters(back) == {"a": [1.5, None], "b": 2}
    assert back.attrs["meanfield_seed"] == str(2**63)


def test_two_writes_give_the_same_bytes(tmp_path):
    for name in ("a.nc", "b.nc"):
        io.write_dataset(dataset(), tmp_path / name)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_a_dataset_without_provenance_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not stamped"):
        io.write_dataset(xr.Dataset(), tmp_path / "x.nc")
    assert not list(tmp_path.iterdir())


def test_an_exception_leaves_neither_the_file_nor_a_temporary_one(tmp_path):
    with pytest.raises(ZeroDivisionError), io.atomic(tmp_path / "x.txt") as temporary:
        temporary.write_text("half", encoding="utf-8")
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path):
    file = tmp_path / "x.txt"
    io.write_text("old", file)
    with pytest.raises(ZeroDivisionError), io.atomic(file) as temporary:
        temporary.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert file.read_text(encoding="utf-8") == "old"


def test_left_overs_of_a_killed_job_are_removed_by_the_next(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".x.txt.{dead.pid}.tmp").write_text("half", encoding="utf-8")
    io.write_text("whole", tmp_path / "x.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_what_a_living_job_is_writing_is_left_alone(tmp_path):
    other = tmp_path / f".x.txt.{os.getppid()}.tmp"
    other.write_text("half", encoding="utf-8")
    io.write_text("whole", tmp_path / "x.txt")
    assert other.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.nc: no such file"):
        io.read_dataset(tmp_path / "nothing.nc")


def test_a_foreign_file_is_refused(tmp_path):
    xr.Dataset({"x": ("n", [1.0])}).to_netcdf(tmp_path / "x.nc")
    with pytest.raises(DataError, match="not a dataset of this project"):
        io.read_dataset(tmp_path / "x.nc")


def test_other_tools_read_our_files_and_the_seal_is_all_that_follows_theirs(tmp_path):
    file = tmp_path / "x.nc"
    io.write_dataset(dataset(), file)
    with xr.open_dataset(file) as opened:
        xr.testing.assert_identical(opened["risk"].load(), dataset()["risk"])
    body, seal = file.read_bytes().rsplit(b"\nmeanfield SHA-256 ", 1)
    assert seal == hashlib.sha256(body).hexdigest().encode() + b"\n"


def test_a_sealed_file_without_provenance_is_refused(tmp_path):
    # As from a later version of this project, say.
    file = tmp_path / "x.nc"
    xr.Dataset({"x": ("n", [1.0])}).to_netcdf(file)
    file.write_bytes(file.read_bytes() + io._seal(file.read_bytes()))
    with pytest.raises(DataError, match="meanfield_parameters is missing"):
        io.read_dataset(file)


def test_a_missing_variable_is_named(tmp_path):
    io.write_dataset(dataset(), tmp_path / "x.nc")
    with pytest.raises(DataError, match="variable 'norm' is missing"):
        io.require(io.read_dataset(tmp_path / "x.nc"), tmp_path / "x.nc", "risk", "norm")


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1, -70])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, keep):
    file = tmp_path / "x.nc"
    io.write_dataset(dataset(), file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"x\.nc: (not a readable netCDF-4 file|cut short)") as caught:
        io.read_dataset(file)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_anywhere_is_seen(tmp_path):
    file = tmp_path / "x.nc"
    io.write_dataset(dataset(), file)
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in [0, 4, len(whole) - 1, len(whole) - 100, *rng.integers(len(whole), size=200)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.nc: .*; delete it and run again"):
            io.read_dataset(file)
    file.write_bytes(whole)
    io.read_dataset(file)


def test_a_path_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"file/x\.nc: cannot be written: (Not a directory|File exists)"):
        io.write_dataset(dataset(), tmp_path / "file" / "x.nc")


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from test_io import dataset, figure
from meanfield import io, plotting
from meanfield.errors import DataError
written = {{"nc": (dataset(5000), io.write_dataset), "pdf": (figure(), lambda one, path: plotting.save(one, [path]))}}
what, write = written[sys.argv[1].rpartition(".")[2]]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))
try:
    write(what, sys.argv[1])
except DataError as error:
    print(error)
"""


def figure():
    made, axis = plt.subplots()
    axis.plot(np.random.default_rng(1).normal(size=2000))
    return made


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX feature")
@pytest.mark.parametrize("ending", ["nc", "pdf"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, ending):
    # The limit on the file size stops the write in the middle, as a full disk does.
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(tests=str(ROOT / "tests/unit")), str(tmp_path / f"x.{ending}")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"x.{ending}: cannot be written" in done.stdout, done.stderr[-2000:]
    assert len(done.stdout.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("blocks", "files"), [(0, 7), (7, 0)])
def test_a_disk_without_room_for_a_file_is_no_matter_of_permissions(tmp_path, monkeypatch, blocks, files):
    # There netCDF says that permission is denied.
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "x.nc"))

    full = SimpleNamespace(f_bavail=blocks, f_files=7, f_favail=files)
    monkeypatch.setattr(xr.Dataset, "to_netcdf", refuse)
    with pytest.raises(DataError, match=r"x\.nc: cannot be written: Permission denied$"):
        io.write_dataset(dataset(), tmp_path / "x.nc")
    monkeypatch.setattr(io.os, "statvfs", lambda _: full)
    with pytest.raises(DataError, match=r"x\.nc: cannot be written: Permission denied \(is the disk full\?\)$"):
        io.write_dataset(dataset(), tmp_path / "x.nc")


def read_only_folder():
    folder = os.environ.get("MEANFIELD_READ_ONLY_FOLDER", "/proc/self")
    return Path(folder) if Path(folder).is_dir() else None


@pytest.mark.skipif(read_only_folder() is None, reason="no read-only folder on this system")
def test_a_read_only_folder_is_named():
    with pytest.raises(DataError, match=r"x\.nc: cannot be written"):
        io.write_dataset(dataset(), read_only_folder() / "x.nc")


def test_json_has_no_words_that_json_lacks(tmp_path):
    io.write_json({"b": np.float64("nan"), "a": np.arange(2), "c": {1: np.bool_(True)}}, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text(encoding="utf-8").split() == (
        ["{", '"a":', "[", "0,", "1", "],", '"b":', "null,", '"c":', "{", '"1":', "true", "}", "}"]
    )
