"""The scripts of the 3-spin: dimensions, coordinates and units, and right numbers."""

import numpy as np
import pytest
from conftest import load

from meanfield import io, provenance
from meanfield.problems.spin3 import GaussianUnits, Spin3
from meanfield.sphere_simulation import simulate_sphere, solve_flows

PROBLEM = {
    "kind": "spherical_3spin", "dimension": 5, "couplings": "independent", "units": "gaussian_kernel",
    "inverse_squared_width": 1.0, "normalised": True,
}  # fmt: skip
COMMON = {"experiment": "test", "seed": 4, "problem": PROBLEM, "initial_law": {"coefficient_scale": 1.0}}
SETTINGS = {"circle_points": 9, "map_points": 9, "fit_from": 8, "evaluate": {"log2_points": 6, "scramblings": 2}}
STEPS = {"coarse": 2e-2, "fine": 2e-3}


def stamped(dataset, parameters):
    return provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters, seed=4)


def simulation(name, step, factors, widths=(4, 8, 16)):
    cases = [
        {"neurons": n, "factor": factor, "phases": [[round(1 / step), int(factor)]]}
        for factor in factors
        for n in widths
    ]
    parameters = {
        **COMMON, "simulation": name, "cases": cases, "iterations": [0, round(0.5 / step), round(1 / step)],
        "settings": {"method": "sgd", "hyperparameters": {}, "step_size": step, "gradient": "samples"},
    }  # fmt: skip
    runs = simulate_sphere(**parameters, replicates=range(3))
    return stamped(load("simulate_spin3").labelled(runs), parameters)


@pytest.fixture(scope="module")
def runs():
    return {
        **{name: simulation(name, step, [2.0]) for name, step in STEPS.items()},
        "batches": simulation("batches", 1e-2, [1.0, 2.0, 8.0]),
    }


@pytest.fixture(scope="module")
def flow():
    parameters = {
        **COMMON, "simulation": "flow", "neurons": [8, 16], "times": [0.0, 0.5, 1.0],
        "settings": {"flow": "population", "relative_tolerance": 1e-7, "divergence_factor": 1e3},
    }  # fmt: skip
    return stamped(load("solve_spin3").labelled(solve_flows(**parameters, replicates=range(3))), parameters)


def analysed(dataset, **changes):
    return load("analyse_spin3").analyse(dataset, io.parameters(dataset), {**SETTINGS, **changes})


def test_runs_carry_names_and_units(runs, flow):
    for dataset in (runs["coarse"], flow):
        assert dataset["loss"].dims == ("replicate", "case", "record")
        assert dataset["weight"].dims == ("replicate", "unit", "parameter")
        for variable in dataset.variables.values():
            assert variable.attrs["long_name"]
            assert variable.attrs["units"]
    assert runs["batches"]["batch"].values.tolist() == [1] * 3 + [2] * 3 + [8] * 3


def test_parts_of_a_run_are_the_whole(runs, tmp_path):
    whole = runs["coarse"]
    for n, part in enumerate((slice(0, 2), slice(2, 3))):
        io.write_dataset(whole.isel(replicate=part), tmp_path / f"{n}.nc")
    joined = io.read_parts([tmp_path / "0.nc", tmp_path / "1.nc"])
    assert joined.identical(whole)


def test_an_analysis_reduces_what_it_says(runs):
    dataset = runs["batches"]
    found = analysed(dataset)
    loss = dataset["loss"].values
    assert found["loss_mean"].values == pytest.approx(np.exp(np.log(loss).mean(axis=0)), rel=1e-12)
    # Two widths from 8 on: the slope of the second batch rule by hand.
    expected = np.log2(loss[:, 5, -1] / loss[:, 4, -1])
    assert found["final_slope_each"].values[:, 1] == pytest.approx(expected, rel=1e-9)
    assert found["final_slope_mean"].values[1] == pytest.approx(expected.mean(), rel=1e-9)
    assert found["local_slope_mean"].values[1, 1] == pytest.approx(expected.mean(), rel=1e-9)
    assert (found["gap_from"].values.tolist(), found["gap_to"].values.tolist()) == ([4, 8], [8, 16])
    # Local slopes between neighbouring batches at the middle width, and the power of time in the second half.
    by_hand = np.diff(np.log(loss[:, [1, 4, 7], -1]).mean(axis=0)) / np.diff(np.log([1.0, 2.0, 8.0]))
    middle = found["batch_slope_mean"].values[1]
    assert middle[np.isfinite(middle)] == pytest.approx(by_hand, rel=1e-9)
    assert np.all(found["batch_to"].values > found["batch_from"].values)
    power = np.log(loss[:, 0, -1] / loss[:, 0, -2]).mean() / np.log(found["time"].values[-1] / found["time"].values[-2])
    assert found["time_power_mean"].values[0] == pytest.approx(power, rel=1e-9)
    assert np.all(found["radius_error"] < 1e-12)
    assert np.all(found["final_loss_error"] == 0)
    for variable in found.variables.values():
        assert variable.attrs["long_name"]
        assert variable.attrs["units"]


def test_pictures_show_the_target_and_the_network_of_the_first_replicate(runs):
    dataset = runs["coarse"]
    found = analysed(dataset)
    target, kernel = Spin3.random(5, 4, "test", 0), GaussianUnits(5, 1.0)
    pole = np.sqrt(5) * np.eye(5)[2:3]
    units = dataset["weight"].values[0, 12:]  # those of width 16
    assert found["map_target"].values[0] == pytest.approx(target.target(pole)[0] * np.ones(17), abs=1e-12)
    assert found["map_network"].values[2, 0] == pytest.approx(kernel.network(units, pole)[0] * np.ones(17), abs=1e-12)
    # A quarter of the first circle is the second axis.
    second = np.sqrt(5) * np.eye(5)[1:2]
    assert found["circle_target"].values[0, 2] == pytest.approx(target.target(second)[0], abs=1e-12)
    assert found["circle_network"].values[2, 0, 2] == pytest.approx(kernel.network(units, second)[0], abs=1e-12)


def test_one_sided_averages_are_means_over_points(runs):
    found = analysed(runs["coarse"])
    # What is missing above minus what is too much below is the mean of the difference, small against its size.
    both = found["missing_above_mean"].values + found["excess_below_mean"].values
    assert np.all(both > 0)  # the learnt function is still smaller than the target
    assert "missing_above_mean" not in load("analyse_spin3").analyse(
        runs["coarse"],
        io.parameters(runs["coarse"]),
        {k: v for k, v in SETTINGS.items() if k != "evaluate"},
    )


def test_a_flow_conserves_and_its_blow_up_is_seen(flow):
    found = analysed(flow)
    assert np.all(found["dissipation_defect"] < 1e-5)
    assert np.all(found["monotone"] == 1)
    assert np.all(found["blown_up"] == 0)
    broken = flow.copy(deep=True)
    broken["loss"][1, 0, -1] = np.nan
    broken["objective"][0, 1, 1] = broken["objective"][0, 1, 0] + 1
    seen = analysed(broken)
    assert seen["blown_up"].values.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert seen["monotone"].values.tolist() == [[1, 0], [1, 1], [1, 1]]


def test_comparisons_by_hand(runs, flow):
    settings = {
        "small_steps": {"flow": "flow", "simulations": ["fine", "coarse"], "neurons": 16, "horizon": 1.0},
        "reference": {"run": "flow", "neurons": 8, "times": [0.5, 1.0], "losses": [1e9, 1.0]},
    }
    all_runs = {"flow": flow, **runs}
    found = load("compare_spin3").compare(all_runs, {name: f"{name}.nc" for name in all_runs}, settings)
    assert found["step_size"].values.tolist() == [2e-3, 2e-2]
    loss = runs["fine"]["loss"].values[:, 2]
    expected = np.abs(loss - flow["loss"].values[:, 1]).max(axis=1) / loss[:, 0]
    assert found["step_distance"].values[:, 0] == pytest.approx(expected, rel=1e-12)
    each = np.log10(found["step_distance"].values[:, 1] / found["step_distance"].values[:, 0])
    assert found["step_slope_each"].values == pytest.approx(each, rel=1e-9)
    low, high = flow["loss"].values[:, 0, 1:].min(axis=0), flow["loss"].values[:, 0, 1:].max(axis=0)
    assert found["reference_inside"].values.tolist() == [0, int(low[1] <= 1.0 <= high[1])]
    assert int(found["reference_neurons"]) == 8
    only = load("compare_spin3").compare(all_runs, {"flow": "f"}, {"reference": settings["reference"]})
    assert "step_size" not in only


def test_losses_at_one_time_are_paired(runs, flow):
    found = load("compare_spin3").compare(
        {"flow": flow, **runs}, {"flow": "f", "coarse": "c"}, {"equal_time": {"runs": ["flow", "coarse"], "time": 1.0}}
    )
    assert found["equal_width"].values.tolist() == [8, 16]
    at = int(np.flatnonzero(np.isclose(runs["coarse"]["time"], 1.0))[0])
    by_hand = np.log(runs["coarse"]["loss"].values[:, 2, at] / flow["loss"].values[:, 1, -1])
    assert found["equal_ratio_mean"].values[1, 1] == pytest.approx(np.exp(by_hand.mean()))
    assert found["equal_ratio_mean"].values[0] == pytest.approx([1.0, 1.0])


def test_speed_is_the_ratio_of_gradients(runs):
    # Records 0, 25 and 50, 250 and 500 iterations: the coarse run needs a tenth of the gradients, up to noise.
    pairs = {"ours": {"run": "coarse", "against": "fine"}, "none": {"run": "coarse", "against": "coarse"}}
    found = load("compare_spin3").compare(runs, {}, {"speed": {"levels": [0.95, 1e-9], "pairs": pairs}})
    assert found["pair"].values.tolist() == ["none", "ours"]
    each = found["speed_up_each"].values
    assert each.shape == (2, 2, 3)
    assert each[0, 0] == pytest.approx(np.ones(3))
    assert np.isnan(each[:, 1]).all()
    assert each[1, 0] == pytest.approx(10 * np.ones(3), rel=0.35)
    assert found["speed_up_reached"].values.tolist() == [[3, 0], [3, 0]]
    assert found["speed_up_clock"].values == pytest.approx([1.0, 10.0])
    assert found["speed_up_mean"].values[1, 0] == pytest.approx(np.exp(np.log(each[1, 0]).mean()))


def test_figures_draw_what_there_is(runs, flow):
    from matplotlib import pyplot as plt

    from meanfield.plotting_spin3 import draw_spin3

    data = {}
    for name, dataset in {**runs, "flow": flow}.items():
        data[f"test/{name}"] = provenance.stamp(
            analysed(dataset), title="t", summary="s", rule="r",
            parameters={"simulation": io.parameters(dataset), "analyse": SETTINGS}, seed=4,
        )  # fmt: skip
    figures = [
        load("figures/fig04_spin3_kernel").draw(data["test/coarse"], data["test/fine"]),
        load("figures/ext_spin3_gradient_flow").draw(data),
        load("figures/ext_spin3_gradient_flow").draw({}),
    ]
    whole = plt.figure()
    axes = draw_spin3(whole, [data["test/coarse"], data["test/fine"]], [])
    assert len(axes[0].get_lines()) == 2
    for figure in (*figures, whole):
        figure.canvas.draw()
        plt.close(figure)
