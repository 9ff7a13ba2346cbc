"""The workflow on a real Slurm of one node, which this module installs, starts and stops: `make test-cluster`.

One run through `profiles/slurm` in which a job is killed and then the node is lost with all that runs on it. What it
makes has to be byte for byte what a local run makes. `MEANFIELD_CLUSTER_TARGETS` names other targets, such as `all`,
and `MEANFIELD_CLUSTER_CONFIG` another overlay of the configuration, such as `config/quick.yaml`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from conftest import DONORS, ROOT, Project, digests

SCRIPT = Path(__file__).with_name("one_node.sh")
# A simulation with limits and a figure; the stages that the profile puts into groups, without the long ones.
TARGETS = os.environ.get("MEANFIELD_CLUSTER_TARGETS", "fig03_isotropic_dd").split()
OVERLAY = os.environ.get("MEANFIELD_CLUSTER_CONFIG", "tests/tiny.yaml")
# Longer than any run: the small scale takes half an hour on two busy cores.
PATIENCE = 7200
# A test does not have the patience of a cluster: how often jobs are looked at, and how long files may be late.
HURRY = [
    "--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--latency-wait", "10",
]  # fmt: skip


def one_node(*arguments):
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


def queue(state="all"):
    """Return what Slurm knows of its jobs: number, state, memory [MB], time limit, what it runs."""
    text = subprocess.run(
        ["squeue", "--noheader", f"--states={state}", "--format=%i|%T|%m|%l|%k"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    names = ("number", "state", "memory", "limit", "task")
    return [dict(zip(names, line.split("|"), strict=True)) for line in sorted(text.splitlines())]


def wait_for(condition, what, run, seconds=300):
    """Wait until a condition holds and return its value; fail where the run ends before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        assert run.poll() is None, f"the run ended before {what}"
        time.sleep(0.3)
    return pytest.fail(f"waited {seconds} s in vain for {what}")


def results(copy):
    """Return where the overlay has a copy of the project put its results."""
    overlay = yaml.safe_load((ROOT / OVERLAY).read_text(encoding="utf-8"))
    return copy.path(overlay.get("pathvars", {}).get("results", "results"))


def built(copy):
    """Return the digests of datasets and figures, without the report, which prints run times."""
    found = digests(results(copy), {".nc", ".pdf", ".svg", ".png"})
    return {name: digest for name, digest in found.items() if Path(name).stem != "report"}


@pytest.fixture(scope="module")
def cluster():
    """A Slurm of one node; skips with the reason where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("needs root: Slurm's daemons start the jobs")
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        pytest.skip("needs slurmctld, slurmd and munged, or apt-get to install them")
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the plugins: make cluster")
    installed = one_node("install")
    if installed.returncode:
        pytest.skip(f"slurm-wlm and munge cannot be installed: {(installed.stderr.strip().splitlines() or ['?'])[-1]}")
    # munged wants its socket where everybody may look; the folders of pytest are private.
    folder = Path(tempfile.mkdtemp(prefix="one_node-"))
    folder.chmod(0o755)
    started = one_node("up", folder)
    try:
        assert started.returncode == 0, started.stderr
        yield folder
    finally:
        one_node("down", folder)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The targets, built on this machine without a cluster."""
    copy = Project(tmp_path_factory.mktemp("local") / "project")
    copy.overlays = [OVERLAY]
    copy.run(*TARGETS, timeout=PATIENCE)
    DONORS.append(copy.folder)
    return copy


@pytest.fixture(scope="module")
def disturbed(cluster, local, tmp_path_factory):
    """The same through the profile, while a job is killed and the node is lost; what was seen on the way."""
    copy = Project(tmp_path_factory.mktemp("cluster") / "project")
    copy.overlays = [OVERLAY]
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *HURRY,
               "--configfile", *copy.overlays, "--", *TARGETS]  # fmt: skip
    log = copy.path("run.log")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with log.open("w") as stream:
        run = subprocess.Popen(command, cwd=copy.folder, stdout=stream, stderr=stream, env=environment)
    try:
        killed = wait_for(lambda: queue("RUNNING"), "a job ran", run)[0]
        subprocess.run(["scancel", killed["number"]], check=True)
        wait_for(lambda: "Trying to restart" in log.read_text(), "the killed job was started again", run)
        lost = wait_for(lambda: queue("RUNNING"), "another job ran", run)
        assert one_node("lose", cluster).returncode == 0
        wait_for(lambda: queue("NODE_FAIL"), "Slurm noticed that the node is lost", run)
        back = one_node("back", cluster)
        assert back.returncode == 0, back.stderr
        code = run.wait(timeout=PATIENCE)
    finally:
        if run.poll() is None:
            run.kill()
    assert code == 0, log.read_text()[-6000:]
    return copy, log.read_text(), killed, lost


def test_the_results_are_byte_for_byte_those_of_a_local_run(disturbed, local):
    first, second = built(local), built(disturbed[0])
    assert len(first) > 5
    assert second == first


def test_a_killed_job_ran_again_with_more_memory_and_time(disturbed):
    _, text, killed, _ = disturbed
    jobs = {job["number"]: job for job in queue()}
    first = jobs[killed["number"]]
    assert first["state"] == "CANCELLED"
    # Groups of one kind have one name in Slurm; Snakemake's own says which one was submitted again.
    submitted = re.findall(r"Job (\S+) has been submitted with SLURM jobid (\d+)", text)
    names = {number: name for name, number in submitted}
    _, *again = [number for name, number in submitted if name == names[first["number"]]]
    assert again
    assert jobs[again[0]]["memory"] != first["memory"]
    assert jobs[again[0]]["limit"] != first["limit"]


def test_what_ran_on_the_lost_node_ran_again(disturbed):
    _, text, _, lost = disturbed
    states = {job["number"]: job["state"] for job in queue()}
    assert {states[job["number"]] for job in lost} == {"NODE_FAIL"}
    assert text.count("Trying to restart") >= 2


def test_short_jobs_share_submissions(disturbed):
    copy, text, _, _ = disturbed
    jobs = len(list((results(copy) / "benchmarks").rglob("*.tsv")))
    completed = [job for job in queue() if job["state"] == "COMPLETED"]
    assert len(completed) < jobs
    assert "Group job figures" in text


def test_nothing_is_left_to_do(disturbed):
    assert disturbed[0].planned(*TARGETS) == {}
