"""The profile for PBS with qsub, qstat and qdel that only play it: they start what is submitted on this machine."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import Project

TARGET = "results/analysis/isotropic/sgd.nc"
# The first job is killed as it starts, as by a server: no marker, no message, only its exit status tells.
QSUB = """#!/bin/sh
number=$(($(ls "$PBS_PLAYED" | grep -c asked) + 1))
echo "$@" > "$PBS_PLAYED/$number.asked"
for script; do :; done
if [ $number = 1 ]; then echo 271 > "$PBS_PLAYED/1.code"; else
  (sh "$script" > "$PBS_PLAYED/$number.log" 2>&1; echo $? > "$PBS_PLAYED/$number.code") > /dev/null 2>&1 &
fi
echo $number.played
"""
QSTAT = """#!/bin/sh
for job; do :; done
code=$(cat "$PBS_PLAYED/${job%.played}.code" 2> /dev/null)
echo "Job Id: $job"
if [ -n "$code" ]; then echo "    job_state = F"; echo "    Exit_status = $code"; else echo "    job_state = R"; fi
"""


def test_the_profile_for_pbs_runs_and_starts_a_killed_job_again(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="needs the plugins: make cluster")
    commands, played = tmp_path / "bin", tmp_path / "played"
    commands.mkdir()
    played.mkdir()
    for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("qdel", "#!/bin/sh\n")):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    copy = Project(tmp_path / "project")
    environment = {
        **os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "PBS_PLAYED": str(played),
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "profiles/pbs", "--seconds-between-status-checks", "2",
         "--latency-wait", "10", "--configfile", *copy.overlays, "--", TARGET],
        cwd=copy.folder, capture_output=True, text=True, timeout=1200, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Trying to restart" in done.stdout + done.stderr
    asked = [path.read_text(encoding="utf-8") for path in sorted(played.glob("*.asked"))]
    assert len(asked) < 9  # seven jobs in groups, and one of them again
    assert all("select=1:ncpus=" in text for text in asked)
    assert copy.path(TARGET).exists()
    shutil.rmtree(copy.folder)
