"""An archive of the tiny scale, verified in another folder."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import Project

TINY = ("--configfile", "tests/tiny.yaml")


def git(folder, *arguments):
    settings = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def meanfield(project, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "src")}
    return subprocess.run(
        [sys.executable, "-m", "meanfield", *arguments], cwd=project.folder, env=environment,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.fixture
def checked_out(rebuilt):
    """The built tiny scale as a checkout of its own."""
    git(rebuilt.folder, "init", "--quiet")
    git(rebuilt.folder, "add", "--all")
    git(rebuilt.folder, "commit", "--quiet", "-m", "tiny")
    return rebuilt


def test_an_archive_is_verified_elsewhere(checked_out, tmp_path):
    path = tmp_path / "archive.zip"
    done = meanfield(checked_out, "archive", *TINY, "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert "note: datasets were made at unknown" in done.stdout  # the copies of these tests are no checkouts
    with zipfile.ZipFile(path) as opened:
        names = set(opened.namelist())
        card = json.loads(opened.read("archive.json"))
        texts = b"".join(opened.read(name) for name in names if name.endswith((".json", ".tsv", ".html", ".txt")))
    assert {
        f"results/figures/{figure}.{ending}" for figure in card["figures"] for ending in ("pdf", "svg", "png")
    } < names
    assert {"results/report/report.pdf", "results/report/report.html", "results/analysis/claims.nc"} < names
    assert not [name for name in names if name.startswith((".snakemake/", "logs/", "results/data/"))]
    assert str(tmp_path).encode() not in texts

    # Gone where it was made; another copy of the project verifies it.
    shutil.rmtree(checked_out.folder)
    elsewhere = Project(tmp_path / "elsewhere")
    done = meanfield(elsewhere, "verify", str(path), "ext_gradient_flow", "fig03_isotropic_dd", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "ext_gradient_flow   identical  pdf png svg",
        "fig03_isotropic_dd  identical  pdf png svg",
    ]


def test_stale_results_are_not_archived(checked_out):
    checked_out.path("results/figures/fig03_isotropic_dd.png").unlink()
    done = meanfield(checked_out, "archive", *TINY, "-o", "x.zip")
    assert done.returncode == 1
    assert "error: the results are not up to date: " in done.stderr
    assert "plot_figure" in done.stderr
    assert not checked_out.path("x.zip").exists()
