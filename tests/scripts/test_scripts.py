"""Each script's function returns the promised dimensions, coordinates and units, and right numbers."""

import json

import numpy as np
import pytest
from conftest import ROOT, load

from meanfield import io, provenance
from meanfield.simulation import simulate

RAMP = {
    "kind": "piecewise_linear", "knots": [0.5, 1.5], "values": [-2.5, 7.5], "left_slope": 0.0, "right_slope": 0.0,
}  # fmt: skip
BLOCK = {
    "problem": {"kind": "isotropic_gaussians", "dimension": 10, "separation": 0.8},
    "activation": RAMP,
    "initial_law": {"kind": "gaussian", "scale": 0.8},
    "schedule": {"coefficient": 1.0, "exponent": 0.0},
}
ITERATIONS = [0, 10, 100, 1000]


@pytest.fixture(scope="module")
def runs():
    parameters = {
        "experiment": "test", "simulation": "sgd", "seed": 3, "neurons": 60, **BLOCK,
        "settings": {
            "method": "sgd", "step_size": 1e-3, "hyperparameters": {}, "precision": "float64",
            "snapshots": {"early": 10, "final": 1000},
        },
        "iterations": ITERATIONS,
    }  # fmt: skip
    dataset = load("simulate_replicates").labelled(simulate(**parameters, replicates=range(3)))
    return provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters, seed=3)


@pytest.fixture(scope="module")
def limits():
    script = load("solve_limit")
    from meanfield.limits.solution import solve

    times = [k * 1e-3 for k in ITERATIONS]
    common = {"limit": "finite", "horizon": 1.0, "records_per_decade": 4}
    return {
        "dd": script.labelled(
            solve(**BLOCK, times=times,
                  settings={**common, "solver": "characteristics", "atoms": 100, "relative_tolerance": 1e-6})
        ),
        "dd_volume": script.labelled(
            solve(**BLOCK, times=times,
                  settings={**common, "solver": "finite_volume", "cells_per_deviation": 8.0, "courant": 0.45})
        ),
    }  # fmt: skip


def analysed(runs, limits, **settings):
    block = {"histogram_bins": 20, "agreement_from": 0.1, "floor_from": 0.1, **settings}
    return load("analyse_simulation").analyse(
        runs, limits, {name: f"{name}.nc" for name in limits}, block, io.parameters(runs)
    )


def test_simulations_carry_names_and_units(runs):
    assert runs["risk"].dims == ("replicate", "record")
    assert runs["weight"].dims == ("replicate", "snapshot", "neuron", "coordinate")
    assert runs["weight"].shape == (3, 2, 60, 10)
    assert runs["snapshot"].values.tolist() == ["early", "final"]
    for variable in runs.variables.values():
        assert variable.attrs["long_name"]
        assert variable.attrs["units"] == "1"


def test_gathered_chunks_are_the_whole(runs, tmp_path):
    for n, part in enumerate((slice(0, 2), slice(2, 3))):
        io.write_dataset(runs.isel(replicate=part), tmp_path / f"{n}.nc")
    whole = io.read_parts([tmp_path / "0.nc", tmp_path / "1.nc"])
    for name in ("risk", "norm", "weight", "replicate", "time"):
        assert whole[name].identical(runs[name]), name


def test_chunks_of_other_parameters_are_refused(runs, tmp_path):
    io.write_dataset(runs, tmp_path / "a.nc")
    other = runs.copy()
    other.attrs["meanfield_parameters"] = json.dumps({"experiment": "else"})
    io.write_dataset(other, tmp_path / "b.nc")
    from meanfield.errors import DataError

    with pytest.raises(DataError, match=r"b\.nc: made with other parameters than"):
        io.read_parts([tmp_path / "a.nc", tmp_path / "b.nc"])


def test_an_analysis_reduces_what_it_says(runs, limits):
    found = analysed(runs, limits)
    risk = runs["risk"].values
    assert found["risk_mean"].values == pytest.approx(risk.mean(axis=0), abs=1e-15)
    deviation = np.abs(risk - limits["dd"]["risk"].values)[:, 2:]  # from t = 0.1 on
    assert found["risk_deviation_max"].sel(limit="dd").values == pytest.approx(deviation.max(axis=1), abs=1e-15)
    widths = np.diff(found["edge"].values)
    assert (found["histogram"].values @ widths) == pytest.approx(np.ones((3, 2)), abs=1e-12)
    assert (found["histogram_limit"].values @ widths) == pytest.approx(np.ones((2, 2)), abs=2e-3)
    assert found["snapshot_time"].values == pytest.approx([0.01, 1.0])
    # Two solvers of one equation are equally far from the samples.
    distances = found["wasserstein_1"].values
    assert np.abs(distances[0] - distances[1]).max() < 0.01
    assert distances.max() < 0.2


def test_an_analysis_without_limits_still_has_its_bands(runs):
    found = analysed(runs, {})
    assert found.sizes["limit"] == 0
    assert np.isfinite(found["risk_low"].values).all()


def test_a_single_replicate_has_no_band(runs, limits):
    found = analysed(runs.isel(replicate=slice(0, 1)), limits)
    assert np.isnan(found["risk_low"].values).all()
    assert np.isfinite(found["risk_mean"].values).all()


def test_limits_are_compared_with_the_first(limits):
    script = load("analyse_limits")
    from meanfield.problems.factory import make_problem

    problem = make_problem(BLOCK["problem"], RAMP)
    found = script.analyse(limits, {name: name for name in limits}, 10, problem)
    assert found["risk_difference_max"].values[0] == 0
    assert found["risk_difference_max"].values[1] == pytest.approx(
        np.abs(limits["dd_volume"]["risk"].values - limits["dd"]["risk"].values).max(), abs=1e-15
    )
    assert found["density"].dims == ("limit", "record", "bin")


def test_stationary_shells_of_the_non_monotone_problem():
    # Radii and stability by Mei, Montanari & Nguyen's failure example: 0.1963 repels, 2.0882 attracts (d = 320).
    from meanfield.problems.activations import PiecewiseLinear
    from meanfield.problems.isotropic import IsotropicGaussians

    problem = IsotropicGaussians(320, 0.5, PiecewiseLinear((0.0, 0.5, 1.5), (-2.5, -4.0, 7.5)))
    radii, attracts = load("analyse_limits").shells(problem)
    assert radii == pytest.approx([0.1963, 2.0882], abs=1e-4)
    assert attracts.tolist() == [False, True]


def test_the_resolution_study_finds_smaller_errors_at_finer_resolution():
    study = {"atoms": [25, 50, 100], "cells_per_deviation": [4.0, 8.0], "reference_atoms": 800, "times": [0.3]}
    found = load("solve_convergence").study(study=study, courant=0.45, relative_tolerance=1e-8, **BLOCK)
    assert (np.diff(found["error_atoms"].values[:, 0]) < 0).all()
    assert (np.diff(found["error_cells"].values[:, 0]) < 0).all()
    # Two, up to a logarithm.
    assert found["order_atoms"].values[0] == pytest.approx(1.75, abs=0.15)


def test_values_hold_scalars_and_small_tables(runs, limits):
    script = load("build_values")
    found = script.numbers(analysed(runs, limits))
    assert found["final_risk"] == pytest.approx(float(runs["risk"][:, -1].mean()))
    assert len(found["kolmogorov_max"]["dd"]) == 3
    assert "wasserstein_1" not in found  # a curve, not a number
    picked = script.curves(analysed(runs, limits), [0.0, 0.1, 50.0])
    assert picked["time"] == pytest.approx([0.0, 0.1])
    assert picked["risk_limit"]["dd"] == pytest.approx(limits["dd"]["risk"].values[[0, 2]])


def test_figures_of_the_configuration_are_the_scripts_and_the_gallery():
    import yaml

    figures = set(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["figures"])
    assert figures == {path.stem for path in (ROOT / "workflow_scripts/figures").glob("*.py")}
    pictures = {path.stem for path in (ROOT / "docs/gallery").glob("*.png")}
    assert figures | {"rule_graph"} <= pictures
    pages = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    for picture in pictures - figures:  # what the benchmarks draw: shown somewhere, or it goes
        assert f"gallery/{picture}.png" in pages, picture
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "report/sections").glob("*.typ"))
    for figure in figures:
        assert f"docs/gallery/{figure}.png" in readme
        assert f'"{figure}"' in sections
