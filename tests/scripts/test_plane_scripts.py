"""Scripts of the plane: dimensions, labels, counts that add up, and one value computed by hand for each."""

import numpy as np
import pytest
import yaml
from conftest import ROOT, load

from meanfield import config as configuration
from meanfield import io, provenance
from meanfield.errors import DataError
from meanfield.families import plane


def stamped(dataset, parameters):
    return provenance.stamp(dataset, title="t", summary="s", rule="r", parameters=parameters)


@pytest.fixture(scope="module")
def config():
    base, tiny = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "tests/tiny.yaml")
    )
    whole = configuration.merge(base, tiny)
    ours = {name: whole["experiments"][name] for name in ("muller_brown", "narrow_well")}
    return configuration.check(
        {**whole, "experiments": ours, "figures": {"f": {"description": "f", "data": []}}},
        ROOT / "schemas/config.schema.yaml",
    )


@pytest.fixture(scope="module")
def surface(config):
    return load("survey_plane").survey(**plane.surface_parameters(config, "muller_brown"))


@pytest.fixture(scope="module")
def runs(config):
    script, found = load("simulate_plane"), {}
    for name in plane.labels(config, "muller_brown", "minima"):
        parameters = plane.simulation_parameters(config, "muller_brown", name)
        found[name] = stamped(script.simulate(parameters), parameters)
    return found


def test_runs_have_common_starts_and_labels(runs):
    first, *others = runs.values()
    assert first["begin"].dims == ("start", "coordinate")
    assert first.sizes["start"] == 40
    for run in others:
        np.testing.assert_array_equal(run["begin"], first["begin"])
    for run in runs.values():
        np.testing.assert_array_equal(run["path"].values[0], first["begin"].values[:3])
        np.testing.assert_array_equal(run["path"].values[-1], run["end"].values[:3])
        for variable in run.variables.values():
            assert variable.attrs["long_name"]
            assert variable.attrs["units"] == "1"
    assert (runs["langevin"]["evaluations"] == 400).all()
    assert (runs["mf_homsgld"]["evaluations"] == 20 * 20).all()
    # 400 first records, then every 20th: just the last.
    assert runs["langevin"].sizes["record"] == 401


def test_the_surface_knows_its_points(surface):
    assert surface["critical_kind"].values.tolist() == [0, 0, 0, 1, 1]
    assert surface["minimum_value"].values == pytest.approx([-146.699517, -108.166724, -80.767818], abs=1e-6)
    assert surface["critical_step"].max() < 1e-10
    assert surface["basin_share"].values.sum() == pytest.approx(1)
    assert set(np.unique(surface["basin"])) == {0, 1, 2}


def test_counts_add_up_and_are_those_of_the_ends(config, runs, surface):
    labels = plane.labels(config, "muller_brown", "minima")
    found = load("compare_plane").compare(runs, labels, surface, config["experiments"]["muller_brown"]["analyse"])
    assert list(found["run"].values) == list(runs)
    assert (found["count_polished"].sum("destination") == 40).all()
    assert (found["count_raw"].sum("destination") == 40).all()
    descent = runs["gradient_descent"]
    by_value = [int((np.abs(descent["value"] - v) < 0.01).sum()) for v in (-146.6995, -108.1667, -80.7678)]
    assert found["count_polished"].sel(run="gradient_descent").values[:3].tolist() == by_value
    # Strong heat smoothing: nobody is there raw, everybody polished.
    heat = found.sel(run="heat_strongest")
    assert heat["share_raw"].values[0] == 0
    assert heat["share_polished"].values[0] == 1
    assert (found["share_low_polished"] <= found["share_polished"]).all()
    assert found["cluster"].sel(run="mf_homsgld") == 10
    assert found["difference_polished"].sel(run="heat_strongest", other="gradient_descent") == pytest.approx(
        1 - by_value[0] / 40
    )
    assert found["rank_best_polished"].sel(run="heat_strongest") == 1
    totals = found["histogram_polished"].sum("bin") + found["above_polished"]
    assert (totals.sel(run=["gradient_descent", "heat_strongest"]) == 40).all()
    label = found["label"].sel(run="gradient_descent").item()
    assert label == "Descent"


def test_who_left_is_not_at_a_minimum():
    script = load("compare_plane")
    minima, points = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.01], [0.5, 0.0], [1.0, 0.0], [np.nan, 0]])
    assert script.destinations(points, np.array([1, 0, 2, 2]), minima, 0.1).tolist() == [0, 2, 3, 3]


def test_trajectories_are_padded_with_their_last_point(config, runs, surface):
    labels = plane.labels(config, "muller_brown", "trajectories")
    chosen = {name: runs[name] for name in labels}
    found = load("trace_plane").trace(chosen, labels, surface)
    assert found["path"].dims == ("run", "record", "trajectory", "coordinate")
    assert found["length"].sel(run="mf_homsgld") == 21
    np.testing.assert_array_equal(found["path"].sel(run="mf_homsgld")[-1], runs["mf_homsgld"]["end"].values[:3])


def test_factors_of_one_give_the_runs_themselves(config, runs, surface):
    parameters = plane.sensitivity_parameters(config, "muller_brown")
    labels = plane.labels(config, "muller_brown", "sensitivity")
    found = load("vary_plane").vary(parameters, labels, surface["minimum_position"].values)
    assert found["share_step"].dims == ("run", "step_factor")
    assert found["thermal"].values.tolist() == [0, 1]
    at = np.linalg.norm(runs["gradient_descent"]["polished"].values[:20] - [-0.558224, 1.441726], axis=1) < 0.1
    descent = found.sel(run="gradient_descent")
    assert descent["share_step"].sel(step_factor=1.0) == pytest.approx(at.mean())
    assert (descent["share_temperature"] == at.mean()).all()
    # Both factors at once: with neither, the difference of the two runs; descent has no temperature.
    assert found["difference"].dims == ("step_factor", "temperature_factor")
    agents = found["share_step"].sel(run="mf_homsgld", step_factor=1.0)
    assert found["difference"].sel(step_factor=1.0, temperature_factor=1.0) == pytest.approx(float(agents - at.mean()))
    hot = found["share_temperature"].sel(run="mf_homsgld", temperature_factor=2.0)
    assert found["difference"].sel(step_factor=1.0, temperature_factor=2.0) == pytest.approx(float(hot - at.mean()))
    assert ((found["difference_low"] <= found["difference"]) & (found["difference"] <= found["difference_high"])).all()


def test_the_joint_map_shows_bold_what_intervals_decide(config, runs, surface):
    parameters = plane.sensitivity_parameters(config, "muller_brown")
    labels = plane.labels(config, "muller_brown", "sensitivity")
    found = load("vary_plane").vary(parameters, labels, surface["minimum_position"].values)
    found["difference"][:] = [[0.2, -0.01], [0.0, 0.05]]
    found["difference_low"][:] = [[0.1, -0.05], [-0.1, -0.01]]
    found["difference_high"][:] = [[0.3, 0.03], [0.1, 0.1]]
    all_runs = plane.labels(config, "muller_brown", "minima")
    counts = load("compare_plane").compare(runs, all_runs, surface, config["experiments"]["muller_brown"]["analyse"])
    drawn = load("figures/fig11_muller_brown_minima").draw(counts, None, found)
    joint = next(axis for axis in drawn.axes if "less" in axis.get_title())
    shown = {text.get_text(): text.get_fontweight() for text in joint.texts}
    assert shown == {"+20": "bold", "−1": "normal", "+0": "normal", "+5": "normal"}


def test_the_fate_of_the_minima(config):
    found = load("smooth_plane").smooth(**plane.smoothing_parameters(config, "muller_brown"))
    assert found["surface"].dims == ("smoothing", "shown", "y", "x")
    # Heat: minimum 3 goes between variances .01 and .02, minimum 2 between .15 and .2, minimum 1 stays.
    ends = found["end_variance"].sel(smoothing="heat").values
    assert ends[0] == np.inf
    assert 0.15 < ends[1] < 0.2
    assert 0.01 < ends[2] < 0.02
    assert found["order_of_end"].sel(smoothing="heat").values.tolist() == [0, 2, 1]
    assert (found["lowest"] == 0).all()
    assert found["fourier_deviation"].values[0] < found["fourier_bound"].values[0]
    # A viscous surface lies below the heat one: by Jensen's inequality.
    assert (found["surface"].sel(smoothing="viscous") < found["surface"].sel(smoothing="heat") + 0.5).all()


def test_values_are_tables_by_names(config, runs, surface):
    labels = plane.labels(config, "muller_brown", "minima")
    found = load("compare_plane").compare(runs, labels, surface, config["experiments"]["muller_brown"]["analyse"])
    values = load("build_values").numbers(found)
    assert values["share_polished"]["heat_strongest"]["minimum 1"] == 1.0
    assert values["difference_polished"]["heat_strongest"]["heat_strongest"] == 0.0
    assert values["minimum_value"] == pytest.approx([-146.6995, -108.1667, -80.7678], abs=1e-4)


@pytest.mark.parametrize("figure", ["fig11_muller_brown_minima", "fig12_muller_brown_trajectories", "ext_smoothing"])
def test_figures_draw_any_terms(config, figure):
    # Two wells of one's own: other numbers of minima, no narrow well, no sensitivity.
    block = {
        **config["experiments"]["muller_brown"],
        "problem": {
            "kind": "plane_terms",
            "terms": [[-2.0, -2.0, 0.0, -2.0, -1.0, 1.0], [-3.0, -2.0, 0.5, -2.0, 0.5, 0.5]],
        },
    }
    own = {**config, "experiments": {"own": block}}
    # Wells as shallow as these take longer steps.
    block["surface"] = {**block["surface"], "step_size": 0.05, "longest_step": 0.02}
    phase = {"method": "sgd", "hyperparameters": {}, "step_size": 0.05, "iterations": 2000}
    block["simulate"] = {"gradient_descent": {"order": 1, "label": "Descent", "phases": [phase]}}
    block["polish"] = {"step_size": 0.05, "iterations": 100}
    surface = load("survey_plane").survey(**plane.surface_parameters(own, "own"))
    parameters = plane.simulation_parameters(own, "own", "gradient_descent")
    run = stamped(load("simulate_plane").simulate(parameters), parameters)
    script = load(f"figures/{figure}")
    label = {"gradient_descent": "Descent"}
    if figure.startswith("fig11"):
        drawn = script.draw(
            load("compare_plane").compare({"gradient_descent": run}, label, surface, block["analyse"]), None, None
        )
    elif figure.startswith("fig12"):
        drawn = script.draw(load("trace_plane").trace({"gradient_descent": run}, label, surface))
    else:
        study = load("smooth_plane").smooth(**plane.smoothing_parameters(own, "own"))
        assert study["order_of_end"].dims == ("minimum", "smoothing")
        drawn = script.draw([study])
    drawn.canvas.draw()
    from matplotlib import pyplot as plt

    plt.close(drawn)


@pytest.mark.parametrize(("script", "function"), [("survey_plane", "survey"), ("smooth_plane", "smooth")])
def test_a_window_without_a_minimum_is_one_line(config, script, function):
    block = {
        **config["experiments"]["muller_brown"], "window": [-2.0, 2.0, -1.5, 1.5],
        "problem": {"kind": "plane_terms", "terms": [[1.0, 0.05, 0.0, 0.07, 3.5, 0.2]]},
    }  # fmt: skip
    own = {**config, "experiments": {"own": block}}
    parameters = {"survey": plane.surface_parameters, "smooth": plane.smoothing_parameters}[function](own, "own")
    with pytest.raises(DataError) as caught:
        getattr(load(script), function)(**parameters)
    message = "experiments.own: the potential has no minimum in the window [-2.0, 2.0, -1.5, 1.5]"
    assert str(caught.value) == message


def test_job_parameters_leave_out_what_does_not_matter(config):
    parameters = plane.simulation_parameters(config, "muller_brown", "langevin")
    assert "sensitivity" not in parameters
    assert io.variable("x", [1], "a")[2]["units"] == "1"
    assert plane.job_modules(config, "muller_brown", ["langevin", "heat_strongest"]) == (
        "meanfield.methods.langevin", "meanfield.methods.sgd",
    )  # fmt: skip
