"""Bad input gets one clear line; nothing half-written stands under a final name; the rest goes on."""

import os
import shutil
import signal
import subprocess
import time

import pytest


def refusal(project, overlay: str) -> str:
    """Return the one line with which a dry run refuses an overlay."""
    file = project.path("bad.yaml")
    file.write_text(overlay, encoding="utf-8")
    project.overlays.append("bad.yaml")
    done = project.run("--dry-run", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Building DAG" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ("experiments: {isotropic: {neuron: 3}}", ["unknown key 'neuron'", "did you mean 'neurons'"]),
        ("figures: {fig99_nothing: {description: none, data: []}}", ["fig99_nothing.py is missing", "known figures"]),
    ],
)
def test_a_slip_is_refused_before_any_job_starts(project, overlay, words):
    line = refusal(project, overlay)
    for word in words:
        assert word in line


def test_a_truncated_dataset_stops_its_analysis_alone(rebuilt):
    damaged = rebuilt.path("results/simulations/isotropic/sgd.nc")
    damaged.write_bytes(damaged.read_bytes()[:3000])
    for name in ("isotropic/sgd", "nonmonotone_far/sgd_1em5"):
        rebuilt.path(f"results/analysis/{name}.nc").unlink()
    targets = ["results/analysis/isotropic/sgd.nc", "results/analysis/nonmonotone_far/sgd_1em5.nc"]
    done = rebuilt.run(*targets, "--rerun-triggers", "mtime", check=False)
    assert done.returncode == 1
    log = rebuilt.path("logs/analyse_simulation/isotropic/sgd.log").read_text(encoding="utf-8").strip()
    assert "results/simulations/isotropic/sgd.nc: cut short" in log
    assert "Traceback" not in log
    assert not rebuilt.path(targets[0]).exists()
    assert rebuilt.path(targets[1]).exists()  # the rest of the graph is unharmed


def test_digits_are_not_replaced_by_others_because_their_files_were_not_found(project, pair_folder, monkeypatch):
    monkeypatch.delenv("MEANFIELD_DIGITS", raising=False)
    shutil.copytree(pair_folder, project.path("images"))
    overlay = "data: {digits: {source: auto, folders: [images], mirrors: []}}\n"
    project.path("auto.yaml").write_text(overlay, encoding="utf-8")
    project.overlays.append("auto.yaml")
    target = project.path("results/data/digits.nc")
    project.run("results/data/digits.nc")
    read = target.read_bytes()
    shutil.rmtree(project.path("images"))
    done = project.run("results/data/digits.nc", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    for word in ("results/data/digits.nc", "mnist-t10k", "images", "MEANFIELD_DIGITS", "data.digits.source"):
        assert word in line
    assert target.read_bytes() == read
    # Whoever asks for other images gets them, without any lock in the way.
    project.path("auto.yaml").write_text(overlay.replace("auto", "uci"), encoding="utf-8")
    project.run("results/data/digits.nc")
    assert target.read_bytes() != read


def test_a_diverging_simulation_says_which_and_why(project):
    project.path("bad.yaml").write_text(
        """
activations:
  relu: {kind: piecewise_linear, knots: [0.0], values: [0.0], left_slope: 0.0, right_slope: 1.0}
experiments:
  isotropic:
    problem: {activation: relu}
    simulate: {sgd: {step_size: 10.0, iterations: 4000, snapshots: {early: 1, middle: 2, final: 4000}}}
    solve: {dd: {horizon: 40000.0}, dd_volume: {horizon: 40000.0}, dd_infinite: {horizon: 40000.0}}
""",
        encoding="utf-8",
    )
    project.overlays.append("bad.yaml")
    target = "results/simulations/isotropic/sgd/0.nc"
    done = project.run(target, check=False)
    assert done.returncode == 1
    log = project.path("logs/simulate_replicates/isotropic/sgd/0.log").read_text(encoding="utf-8")
    line = log.strip().splitlines()[-1]
    assert "Traceback" not in log
    assert "Warning" not in log
    for word in ("isotropic/sgd", "replicate 0", "sgd", "iteration", "step_size 10 is too large"):
        assert word in line
    assert not project.path(target).exists()
    assert not list(project.path("results").rglob("*.tmp"))


def kill_once_there_is(file, project, target: str, seconds: float) -> None:
    """Start the workflow, and kill it with all its jobs as soon as it has made a file, or when the time is up."""
    process = subprocess.Popen(
        project.command(target), cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    file.unlink(missing_ok=True)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not file.exists() and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_kill_in_mid_simulation_leaves_nothing_half_written_and_the_same_command_goes_on(project):
    target = "results/simulations/isotropic/sgd.nc"
    project.run(target)
    undisturbed = project.path(target).read_bytes()
    project.run(target, "--delete-all-output")
    assert not project.path(target).exists()

    # The first write waits, so that the kill always finds a simulation under way.
    kill_once_there_is(project.path("logs/simulate_replicates/isotropic/sgd/0.log"), project, target, seconds=60)
    assert not project.path(target).exists()

    project.run(target)  # the same command goes on: it lifts the dead run's locks itself
    assert project.path(target).read_bytes() == undisturbed
    assert not list(project.path("results").rglob("*.tmp"))


def test_a_killed_simulation_goes_on_from_its_saved_state_with_the_same_bits(project):
    target = "results/simulations/isotropic/sgd/0.nc"
    for name, seconds in (("calm", "~"), ("saving", "0.02")):
        project.path(f"{name}.yaml").write_text(
            f"""
checkpoint_seconds: {seconds}
experiments:
  isotropic:
    simulate:
      sgd:
        step_size: 1.0e-6
        iterations: 2000000
""",
            encoding="utf-8",
        )
    project.overlays.append("calm.yaml")
    project.run(target)
    undisturbed = project.path(target).read_bytes()
    project.run(target, "--delete-all-output")
    project.overlays[-1] = "saving.yaml"

    saved = project.path(f"{target}.checkpoint")
    kill_once_there_is(saved, project, target, seconds=120)
    assert saved.exists()

    project.run(target)
    log = project.path("logs/simulate_replicates/isotropic/sgd/0.log").read_text(encoding="utf-8")
    assert "sgd/0.nc.checkpoint: going on; " in log
    assert project.path(target).read_bytes() == undisturbed
    assert not saved.exists()


def test_a_results_folder_that_cannot_be_written_is_named(project):
    project.path("results").mkdir(exist_ok=True)
    project.path("results/simulations").write_text("a file where a folder is needed", encoding="utf-8")
    done = project.run("results/simulations/isotropic/dd.nc", check=False)
    assert done.returncode == 1
    assert "results/simulations" in done.stdout + done.stderr


def test_a_second_run_at_once_is_refused_and_the_first_goes_on(project):
    target = "results/simulations/isotropic/sgd.nc"
    # With a figure besides, the first outlasts the start of the second: at its very end Snakemake takes its locks away
    # while the second may be reading them, which then stops with another message.
    first = subprocess.Popen(
        project.command(target, "fig03_isotropic_dd", cores=1),
        cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    notes = project.path(".snakemake/runs")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (notes.is_dir() and list(notes.iterdir())) and first.poll() is None:
        time.sleep(0.005)
    second = project.run(target, check=False)
    assert second.returncode == 1
    assert "cannot be locked" in second.stdout + second.stderr
    assert first.wait(timeout=300) == 0
    assert project.path(target).exists()
    assert not list(notes.iterdir())
