"""The scripts of profiles/pbs against qsub and qstat that only play PBS; a real one was not at hand."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT, load

PROFILE = ROOT / "profiles" / "pbs"
status = load("status", "profiles/pbs")


def play(folder, name, body):
    """Put a command on the PATH that is this shell script."""
    script = folder / name
    script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    script.chmod(0o755)


def run(folder, script, *arguments, **variables):
    return subprocess.run(
        [sys.executable, PROFILE / script, *arguments], cwd=folder, capture_output=True, text=True, timeout=60,
        check=False, env={"PATH": f"{folder}:/usr/bin:/bin", **variables},
    )  # fmt: skip


def told(state, code=None):
    """Return the part of `qstat -x -f` that counts."""
    ending = "" if code is None else f"    Exit_status = {code}\n"
    return f"Job Id: 12.server\n    Job_Name = meanfield\n    job_state = {state}\n{ending}    Hold_Types = n\n"


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("Q", None, "running"), ("R", None, "running"), ("E", 0, "running"), ("H", None, "running"),
        ("S", None, "running"), ("F", 0, "success"), ("F", 1, "failed"), ("F", 271, "failed"), ("F", -29, "failed"),
        ("F", None, "failed"),
    ],
)  # fmt: skip
def test_a_job_is_running_has_ended_well_or_has_failed(tmp_path, state, code, expected):
    play(tmp_path, "qstat", f"[ \"$*\" = '-x -f 12.server' ] || exit 2\ncat <<'END'\n{told(state, code)}END")
    done = run(tmp_path, "status.py", "12.server")
    assert (done.returncode, done.stdout) == (0, f"{expected}\n")


def test_a_job_that_pbs_does_not_know_has_failed(tmp_path):
    play(tmp_path, "qstat", "echo 'qstat: Unknown Job Id 12.server' >&2; exit 153")
    assert run(tmp_path, "status.py", "12.server").stdout == "failed\n"


def test_a_server_that_does_not_answer_fails_no_job(tmp_path, monkeypatch, capsys):
    play(tmp_path, "qstat", "echo 'cannot connect to server' >&2; exit 111")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(sys, "argv", ["status.py", "12.server"])
    monkeypatch.setattr(status.time, "sleep", lambda seconds: None)
    status.main()
    told_to = capsys.readouterr()
    assert told_to.out == "running\n"
    assert "cannot connect" in told_to.err


def test_a_job_is_submitted_with_its_requests_and_what_it_needs_of_the_environment(tmp_path):
    play(tmp_path, "qsub", "printf '%s\\n' \"$@\" > asked; echo 12.server")
    done = run(
        tmp_path, "submit.py", "--project", "p1", "--queue", "", "--threads", "4", "--mem-mb", "3000",
        "--runtime", "90", "job.sh", NUMBA_CACHE_DIR="/shared/numba", HOME="/not/passed",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "12.server\n")
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert "select=1:ncpus=4:mem=3000mb" in asked
    assert "walltime=01:30:00" in asked
    assert asked[asked.index("-P") + 1] == "p1"
    assert "-q" not in asked
    assert asked[asked.index("-v") + 1].endswith("NUMBA_CACHE_DIR=/shared/numba")
    assert "HOME" not in " ".join(asked)
    assert asked[-1] == "job.sh"


def test_a_refused_job_is_one_line(tmp_path):
    play(tmp_path, "qsub", "echo 'qsub: Unknown queue' >&2; exit 170")
    done = run(tmp_path, "submit.py", "--threads", "1", "--mem-mb", "1", "--runtime", "1", "job.sh")
    assert done.returncode != 0
    assert done.stderr == "error: qsub refused the job: qsub: Unknown queue\n"
