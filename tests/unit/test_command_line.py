import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from meanfield import io, provenance
from meanfield.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--configfile", "tests/tiny.yaml"]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_a_good_configuration_is_fine(capsys):
    assert main(["check", *TINY]) == 0
    assert capsys.readouterr().out.startswith("config: fine")


def test_a_bad_overlay_is_one_line_and_no_success(tmp_path, capsys):
    overlay = tmp_path / "bad.yaml"
    overlay.write_text("seed: minus one", encoding="utf-8")
    assert main(["check", "--configfile", str(overlay)]) == 1
    assert capsys.readouterr().err == "error: config: seed: text 'minus one' found, integer needed\n"


def test_an_unknown_name_is_answered_with_the_known_ones(capsys):
    assert main(["run", "isotropic", "sdg"]) == 1
    assert "known: entropy_sgd, heavy_ball" in capsys.readouterr().err
    assert main(["run", "isotopic", "sgd"]) == 1
    assert "known: anisotropic, anisotropic_apart" in capsys.readouterr().err


def test_a_tuned_run_needs_its_sweep_and_takes_its_best_candidate(tmp_path, capsys):
    results = tmp_path.relative_to(tmp_path.anchor)
    overlay = tmp_path / "mine.yaml"
    # Relative to the project's folder, as the schema wants it.
    folder = "../" * (len(ROOT.parts) - 1) + str(results)
    overlay.write_text(f"pathvars: {{results: {folder}}}", encoding="utf-8")
    command = ["run", "isotropic", "tuned_nesterov_control", "-o", str(tmp_path / "x.nc"), *TINY, str(overlay)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "analysis/isotropic/tune_nesterov.nc: no such file, and the simulation is tuned by it; `snakemake" in error

    parameters = {
        "sweep": {
            "settings": {"method": "nesterov"},
            "candidates": [{"step_size": 2e-4, "hyperparameters": {"momentum": 0.75}}],
        }
    }
    dataset = xr.Dataset({"best": io.variable("", 0, "best")})
    dataset = provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters)
    io.write_dataset(dataset, tmp_path / "analysis/isotropic/tune_nesterov.nc")
    assert main(command) == 0
    settings = io.parameters(io.read_dataset(tmp_path / "x.nc"))["settings"]
    assert settings["method"] == "sgd"
    assert settings["step_size"] == pytest.approx(8e-4, rel=1e-12)


def test_the_pages_are_printed(capsys):
    assert main(["methods"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    assert main(["parameters"]) == 0
    assert capsys.readouterr().out.startswith("# Parameters")


def test_another_folder_is_no_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    assert "config.yaml: no such file here" in capsys.readouterr().err


def test_a_run_without_a_terminal_logs_lines_and_writes_what_the_workflow_writes(tmp_path):
    output = tmp_path / "x.nc"
    done = subprocess.run(
        [sys.executable, "-m", "meanfield", "run", "nonmonotone_near", "sgd_1em4", "-o", output, *TINY],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert "4000 iterations in" in done.stderr
    dataset = io.read_dataset(output)
    assert dataset.sizes["replicate"] == 2
    assert io.parameters(dataset)["settings"]["step_size"] == 1e-3


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a POSIX feature")
def test_a_run_in_a_terminal_shows_a_bar_with_rate_and_time_left(tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    command = [sys.executable, "-m", "meanfield", "run", "nonmonotone_near", "sgd_1em4", "-o", str(tmp_path / "x.nc")]
    process = subprocess.Popen([*command, *TINY], stdout=follower, stderr=follower, stdin=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait(timeout=300) == 0
    text = shown.decode(errors="replace")
    assert "nonmonotone_near/sgd_1em4" in text
    assert "it/s" in text
    assert "100%" in text
    assert "4.00k/4.00k" in text
