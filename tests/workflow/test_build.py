"""The whole workflow at the tiny scale: what a user types, and what is left behind."""

import json
import shutil
import subprocess

import pytest
import xarray as xr
import yaml
from conftest import EXTRA, ROOT, digests
from pypdf import PdfReader

from meanfield import provenance

FIGURES = list(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["figures"])


def test_every_figure_and_the_report_are_built(built):
    for figure in FIGURES:
        for ending in ("pdf", "svg", "png"):
            assert built.path(f"results/figures/{figure}.{ending}").stat().st_size > 1000
    pages = PdfReader(built.path("results/report/report.pdf")).pages
    text = "\n".join(page.extract_text() for page in pages)
    assert len(pages) >= 5
    assert "distributional dynamics" in text
    assert provenance.versions()["numpy"] in text


def test_a_second_run_has_nothing_to_do(built):
    assert built.planned("all", *EXTRA) == {}


def test_no_temporary_file_is_left(built):
    assert not [path for path in built.folder.rglob("*.tmp") if ".snakemake" not in path.parts]


def test_every_dataset_carries_its_identity_and_labels(built):
    files = sorted(built.path("results").rglob("*.nc"))
    assert len(files) >= 35
    for file in files:
        with xr.open_dataset(file, decode_times=False) as dataset:
            for key in ("title", "summary", "source", "references", "meanfield_revision", "meanfield_rule"):
                assert dataset.attrs[key], (file, key)
            assert json.loads(dataset.attrs["meanfield_parameters"])
            assert set(provenance.PACKAGES) < set(json.loads(dataset.attrs["meanfield_versions"]))
            inputs = json.loads(dataset.attrs["meanfield_inputs"])
            assert inputs or not dataset.attrs["meanfield_rule"].startswith("analyse_")
            for name, variable in dataset.variables.items():
                assert variable.attrs.get("long_name"), (file, name)
                assert variable.attrs.get("units"), (file, name)
            words = " ".join(str(value) for value in dataset.attrs.values())
            assert str(built.folder) not in words, file


def test_a_tuned_run_has_the_best_candidate_of_its_sweep_and_its_control_keeps_pace(built):
    def settings(name):
        with xr.open_dataset(built.path(f"results/simulations/isotropic/{name}.nc"), decode_times=False) as dataset:
            return json.loads(dataset.attrs["meanfield_parameters"])["settings"]

    with xr.open_dataset(built.path("results/analysis/isotropic/tune_nesterov.nc"), decode_times=False) as sweep:
        best = sweep["risk"].mean("replicate").argmin().item()
        step, momentum = (float(sweep[name][best]) for name in ("step_size", "momentum"))
    tuned, control = settings("tuned_nesterov"), settings("tuned_nesterov_control")
    assert (tuned["method"], tuned["step_size"], tuned["hyperparameters"]) == ("nesterov", step, {"momentum": momentum})
    assert control["method"] == "sgd"
    assert control["step_size"] == pytest.approx(step / (1 - momentum), rel=1e-12)


def test_parents_are_named_by_content(built):
    with xr.open_dataset(built.path("results/analysis/isotropic/sgd.nc"), decode_times=False) as dataset:
        inputs = json.loads(dataset.attrs["meanfield_inputs"])
    assert inputs["runs"] == provenance.sha256(built.path("results/simulations/isotropic/sgd.nc"))


def test_one_core_and_another_folder_give_the_same_bytes(built, project):
    # Two figures, and every kind of computation of each family: a job takes seconds to start. The report prints run
    # times, and its bytes follow those of the benchmark files.
    shutil.rmtree(project.path(".git"), ignore_errors=True)
    computed = (
        "analysis/digits_optimisers/mf_homsgld", "analysis/fluctuations/chaos", "analysis/gradient_flow/movements",
        "analysis/isotropic/tuned_nesterov_control", "analysis/multiscale/hmm", "analysis/sampling/flows",
        "analysis/spin3_kernel/sgd", "analysis/stationary_nonmonotone/states", "simulations/anisotropic/dd_noise",
        "simulations/anisotropic/langevin", "simulations/anisotropic/width_study", "simulations/digits/n300",
        "simulations/muller_brown/langevin", "simulations/muller_brown/mf_homsgld", "simulations/noisy_sgd/noisy_runs",
        "simulations/spin3_kernel/batch_free", "simulations/spin3_sigmoid/sgd",
    )  # fmt: skip
    targets = [f"results/{name}.nc" for name in computed]
    project.run("fig03_isotropic_dd", "ext_smoothing", *targets, cores=1)
    endings = {".nc", ".pdf", ".svg"}
    first, second = (digests(copy.path("results"), endings) for copy in (built, project))
    assert len(second) >= 45
    assert {name: first.get(name) for name in second} == second


def test_chunks_of_replicates_do_not_show_in_the_result(built, rebuilt):
    rebuilt.edit("tests/tiny.yaml", "replicates_per_job: 2", "replicates_per_job: 1")
    shutil.rmtree(rebuilt.path("results/simulations"))
    rebuilt.run("results/simulations/isotropic/sgd.nc")
    name = "results/simulations/isotropic/sgd.nc"
    assert rebuilt.path(name).read_bytes() == built.path(name).read_bytes()
    assert rebuilt.path("results/simulations/isotropic/sgd/2.nc").exists()


def test_a_figure_is_a_target_by_name_and_by_file(project):
    by_name = project.planned("fig02_isotropic_sgd")
    by_file = project.planned("results/figures/fig02_isotropic_sgd.pdf")
    by_name.pop("fig02_isotropic_sgd")
    assert by_name == by_file
    assert by_file["plot_figure"] == 1
    assert by_file["simulate_replicates"] == 2  # three replicates, two per job
    assert "solve_convergence" not in by_file


def test_the_real_configuration_plans_from_nothing(project):
    project.overlays = []
    planned = project.planned()
    assert planned["plot_figure"] == len(FIGURES)
    assert planned["build_report"] == 1
    project.overlays = ["config/quick.yaml"]
    quick = project.run("--dry-run", "--quiet", "rules").stdout
    text = project.run("--dry-run").stdout
    assert "quick/results/report/report.pdf" in text
    assert "output: results/" not in text + quick


def test_the_list_names_every_figure_with_its_description(project):
    lines = project.run("--list").stdout.splitlines()
    for figure in FIGURES:
        (line,) = [line for line in lines if line.startswith(figure)]
        assert len(line) > len(figure) + 10


def test_lint_finds_nothing(project):
    project.overlays = []
    done = project.run("--lint")
    assert "good condition" in done.stdout + done.stderr


def test_snakemake_makes_its_own_report_without_network(built, rebuilt):
    command = rebuilt.command("--report", "report.html")
    isolated = ["unshare", "--net", "--map-root-user"]
    if (
        shutil.which("unshare")
        and subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode == 0
    ):
        command = [*isolated, *command]
    done = subprocess.run(command, cwd=rebuilt.folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ERROR/" not in done.stderr
    page = rebuilt.path("report.html").read_text(encoding="utf-8")
    for figure in FIGURES:
        assert figure in page


def test_a_project_folder_that_is_no_checkout_still_builds(project):
    # A tarball has no .git; the copies of these tests have none either.
    assert not project.path(".git").exists()
    project.run("results/simulations/isotropic/dd.nc")
    with xr.open_dataset(project.path("results/simulations/isotropic/dd.nc"), decode_times=False) as dataset:
        assert dataset.attrs["meanfield_revision"] == "unknown"


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_hold_no_wall_clock_facts(built, figure):
    assert b"CreationDate" not in built.path(f"results/figures/{figure}.pdf").read_bytes()
    assert b"<dc:date>" not in built.path(f"results/figures/{figure}.svg").read_bytes()


def test_logs_say_how_fast_a_simulation_ran(built):
    log = built.path("logs/simulate_replicates/isotropic/sgd/0.log").read_text(encoding="utf-8")
    assert "iterations in" in log
    assert "per second" in log
