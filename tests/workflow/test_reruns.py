"""Reruns follow content: an edit reruns exactly what uses it."""

import os
import time

import yaml
from conftest import EXTRA


def isotropic_runs(project):
    """Return the names of the simulations that are analysed beside the isotropic limit equations."""
    entries = yaml.safe_load(project.path("tests/tiny.yaml").read_text(encoding="utf-8"))["experiments"]["isotropic"]
    return [name for name, entry in entries["simulate"].items() if entry]


def test_a_comment_in_a_costly_module_reruns_nothing(rebuilt):
    for module in ("kernels/block_sgd.py", "kernels/streams.py", "limits/potentials.py", "problems/isotropic.py"):
        file = rebuilt.path(f"src/meanfield/{module}")
        file.write_text(file.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    rebuilt.edit("src/meanfield/kernels/reference.py", '"""Sequential', '"""Plain sequential')
    assert rebuilt.planned("all", *EXTRA) == {}


def test_an_edited_optimiser_reruns_its_runs_their_controls_and_its_sweeps(rebuilt):
    rebuilt.edit("src/meanfield/methods/nesterov.py", 'TITLE = "Nesterov"', 'TITLE = "Nesterov SGD"')
    planned = rebuilt.planned("all", *EXTRA)
    # nesterov_control has the optimiser's clock; the tuned run and its control wait for the sweep.
    assert planned["simulate_sweep"] == 1
    assert planned["analyse_sweep"] == 1
    assert planned["simulate_replicates"] == 4
    assert "solve_limit" not in planned


def test_touching_every_file_reruns_nothing(rebuilt):
    later = time.time() + 100
    for path in [*rebuilt.folder.glob("**/*.py"), *rebuilt.folder.glob("**/*.smk"), rebuilt.path("Snakefile")]:
        os.utime(path, (later, later))
    for path in rebuilt.path("results/simulations").rglob("*.nc"):
        os.utime(path, (later, later))
    assert rebuilt.planned("all", *EXTRA) == {}


def test_an_edited_kernel_reruns_everything_that_draws_samples(rebuilt):
    rebuilt.edit("src/meanfield/kernels/streams.py", "np.float32(2.0**-32)", "np.float32(0.5 * 2.0**-31)")
    planned = rebuilt.planned("all", *EXTRA)
    from_nothing = rebuilt.planned("all", *EXTRA, "--forceall")
    # And what follows from it; the drawing of the network is the one figure that needs none.
    for rule in ("simulate_replicates", "simulate_sweep", "simulate_widths", "analyse_simulation"):
        assert planned[rule] == from_nothing[rule]
    assert planned["plot_figure"] == from_nothing["plot_figure"] - 1


def test_an_edited_solver_reruns_its_own_limits_only(rebuilt):
    rebuilt.edit("src/meanfield/limits/finite_volume.py", "_OUTER_MASS = 1e-13", "_OUTER_MASS = 2e-13")
    planned = rebuilt.planned()
    assert planned["solve_limit"] == 1
    assert planned["solve_convergence"] == 1
    assert "simulate_replicates" not in planned
    assert planned["analyse_simulation"] == len(isotropic_runs(rebuilt))


def test_an_edited_figure_script_redraws_that_figure(rebuilt):
    rebuilt.edit("workflow_scripts/figures/fig02_isotropic_sgd.py", '"density"', '"density of the norm"')
    planned = rebuilt.planned("results/figures/fig02_isotropic_sgd.svg", "results/figures/fig03_isotropic_dd.svg")
    assert planned == {"plot_figure": 1}


def test_an_edited_style_redraws_every_figure_and_recomputes_nothing(rebuilt, configuration):
    rebuilt.edit("styles/report.mplstyle", "lines.linewidth: 1.2", "lines.linewidth: 1.3")
    planned = rebuilt.planned()
    assert set(planned) == {"all", "plot_figure", "draw_rule_graph", "build_values", "build_report", "build_web"}
    assert planned["plot_figure"] == len(configuration["figures"])


def test_a_changed_number_reruns_what_uses_it(rebuilt):
    rebuilt.edit(
        "config.yaml",
        "histogram_bins: 60\n      agreement_from: 0.1 #",
        "histogram_bins: 50\n      agreement_from: 0.1 #",
    )
    planned = rebuilt.planned()
    assert planned["analyse_simulation"] == len(isotropic_runs(rebuilt))
    assert "simulate_replicates" not in planned
    assert "solve_limit" not in planned


def test_more_replicates_run_only_the_new_ones(rebuilt):
    rebuilt.edit("tests/tiny.yaml", "replicates: 3", "replicates: 5")
    # Replicates 0-1 stay; 2-3 replaces the short chunk 2; 4 is new.
    assert rebuilt.planned("results/simulations/isotropic/sgd.nc") == {"simulate_replicates": 2, "gather_replicates": 1}


def test_a_section_of_the_report_is_one_file(rebuilt):
    rebuilt.path("report/sections/99_extra.typ").write_text("= A further remark\n\nText.\n", encoding="utf-8")
    assert set(rebuilt.planned()) == {"all", "build_report", "build_web"}
