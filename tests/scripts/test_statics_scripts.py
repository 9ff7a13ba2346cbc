"""Scripts of the optimal and stationary laws and of the gradient flow: labels, and values known otherwise."""

import numpy as np
import pytest
import yaml
from conftest import ROOT, changed, load

from meanfield import config as configuration
from meanfield.errors import ConfigError
from meanfield.families import statics

SCHEMA = ROOT / "schemas/config.schema.yaml"
NAMES = ("statics", "stationary_nonmonotone", "gradient_flow")


def merged():
    base, tiny = (yaml.safe_load((ROOT / n).read_text(encoding="utf-8")) for n in ("config.yaml", "tests/tiny.yaml"))
    whole = configuration.merge(base, tiny)
    ours = {name: whole["experiments"][name] for name in NAMES}
    return {**whole, "experiments": ours, "figures": {"f": {"description": "f", "data": ["statics/laws"]}}}


@pytest.fixture(scope="module")
def config():
    return configuration.check(merged(), SCHEMA)


@pytest.fixture(scope="module")
def laws(config):
    return load("minimise_laws").study(**statics.law_parameters(config, "statics"))


@pytest.fixture(scope="module")
def ends(config):
    return load("find_ends").study(**statics.end_parameters(config, "statics"))


@pytest.fixture(scope="module")
def states(config):
    return load("find_stationary_laws").study(**statics.state_parameters(config, "stationary_nonmonotone"))


@pytest.fixture(scope="module")
def movements(config):
    return load("compare_movements").study(**statics.movement_parameters(config, "gradient_flow"))


def test_every_variable_is_labelled(laws, ends, states, movements):
    for dataset in (laws, ends, states, movements):
        for name, variable in dataset.variables.items():
            assert variable.attrs["long_name"], name
            assert variable.attrs["units"] == "1", name


def test_laws_have_known_values(laws):
    assert list(laws["dimension"].values) == ["20", "40", "∞"]
    assert laws["upper_threshold"].values == pytest.approx([0.37763, 0.43101, 0.47422], abs=5.1e-6)
    assert laws["optimal_risk"].sel(dimension="40", separation=0.6) == pytest.approx(0.01520, abs=5.1e-6)
    assert float(laws["largest_gap"]) < 1e-12
    assert laws["spheres"].sel(separation=0.3).values.tolist() == [1, 1, 1]
    mass = laws["optimal_mass"].values
    assert np.nansum(mass, axis=-1) == pytest.approx(np.ones(mass.shape[:2]))
    # Two dimensions give a slope without an interval.
    assert np.isfinite(laws["upper_order"])
    assert np.isnan(laws["upper_order_low"])


def test_ends_lie_above_the_optimum(ends):
    assert ends["limit_risk"].dims == ("separation", "law", "end")
    assert (ends["limit_risk"] >= ends["optimal_risk"]).all()
    assert (ends["limit_risk"].diff("end") < 0).all()
    assert float(ends["sgd_time"]) == pytest.approx(0.5)
    # SGD starts from one of the two laws.
    assert np.isfinite(ends["sgd_risk"].sel(law="narrow")).all()
    assert np.isnan(ends["sgd_risk"].sel(law="wide")).all()
    assert (ends["sgd_risk_low"].sel(law="narrow") <= ends["sgd_risk_high"].sel(law="narrow")).all()


def test_states_have_known_values(states):
    assert states["sphere_norm"].values == pytest.approx([0.1963, 2.0882], abs=5e-5)
    assert states["family_norm"].sel(zero_mass=0.2).values[0] == pytest.approx(2.725, abs=5.1e-4)
    assert states["family_risk"].sel(zero_mass=0.2).values[0] == pytest.approx(0.08035, abs=5.1e-6)
    assert states["sphere_splitting_measured"].values == pytest.approx(states["sphere_splitting"].values, rel=1e-4)
    assert float(states["zero_risk"]) == pytest.approx(7.25)
    assert int(states["zero_kind"]) == 0
    assert int(states["branches"]) == 2
    assert float(states["continuation_error"]) < 1e-9
    assert float(states["border_error"]) < 2e-2
    assert states["end_risk"].sel(kind="shell").values[0] == pytest.approx(7.25)
    # Shells of three scales beside the one mass at zero. Within so short a time none of them comes to rest.
    assert int(states["mixed_starts"]) == 3
    assert (int(states["family_ends"]) > 0) == np.isfinite(states["family_error"])
    assert states["moving"].values.tolist() == (states["end_rests"] == 0).sum("scale").values.tolist()
    # Branches cover the range of the parameter and start from the spheres.
    assert states["branch_parameter"].values.min() == pytest.approx(0.4)
    assert states["branch_parameter"].values.max() == pytest.approx(0.6)


def test_movements_have_known_values(movements):
    assert movements["step"].values == pytest.approx([0.05, 0.025, 0.0125])
    assert (np.diff(movements["law_error"].values) < 0).all()
    assert 0.7 < float(movements["law_order"]) < 1.2
    assert (movements["energy_share"] <= 0.5).all()
    assert (movements["disorder"] == 0).all()
    assert (movements["largest_rise"] < 0).all()
    assert movements["risk"].values[0] == pytest.approx(1.70, abs=0.05)
    assert abs(float(movements["balance_error"].values[-1])) < 1e-2


@pytest.mark.parametrize("figure", ["ext_statics", "ext_stationary_states", "ext_gradient_flow"])
def test_figures_draw(figure, laws, ends, states, movements):
    from matplotlib import pyplot as plt

    draw = load(f"figures/{figure}").draw
    if figure == "ext_statics":
        drawn = draw({"statics/laws": laws, "statics/ends": ends})
    elif figure == "ext_stationary_states":
        drawn = draw({"a/states": states, "b/states": states}, {"a/states": "A"})
    else:
        drawn = draw({"a/movements": movements}, {})
    drawn.canvas.draw()
    plt.close(drawn)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("statics.problem.activation", "ramp", "problem.activation: 'ramp' found"),
        ("statics.dimensions", [40, 20], "dimensions: [40, 20] found; they must increase strictly"),
        ("statics.dimensions", [1], "dimensions.0: 1 found, at least 2 needed"),
        ("statics.separations", [0.5, 0.4], "separations: [0.5, 0.4] found; they must increase strictly"),
        ("statics.tried.least", 0.8, "tried: least 0.8 and greatest 0.6 found; least < greatest needed"),
        ("statics.problem.activation", "hyperbolic_tangent", "largest_norm: 10000 found, at most 25 needed for a"),
        ("statics.ends.sgd.initial_laws", ["narow"], "'narow' found (did you mean 'narrow'?)"),
        ("statics.ends.times", [5.0, 0.5], "ends.times: [5.0, 0.5] found; they must increase strictly"),
        ("stationary_nonmonotone.problem.teacher_norm", 1.0, "teacher_norm: found, which classes do not take"),
        ("stationary_nonmonotone.problem.target", "teacher", "teacher_masses: is missing, which a teacher needs"),
        ("stationary_nonmonotone.problem.separation", 0.7, "separation: 0.7 found, between"),
        ("stationary_nonmonotone.continuation.checked", [0.9], "checked.0: 0.9 found, between least = 0.4"),
        ("stationary_nonmonotone.basins.borders", [0.7], "borders.0: 0.7 found, at most"),
        ("stationary_nonmonotone.masses", [0.2, 0.2], "masses: [0.2, 0.2] found; they must increase strictly"),
        ("gradient_flow.steps", [4, 6], "steps.1: 6 found, a multiple of the first, 4, needed"),
        ("gradient_flow.intervals", [6, 16], "intervals.0: 6 found, an even divisor of the last, 16, needed"),
        ("gradient_flow.initial_law.kind", "ball", "initial_law.kind: 'ball' found"),
    ],
)  # fmt: skip
def test_a_slip_is_named(path, value, words):
    bad = {**merged(), "experiments": changed(merged()["experiments"], path, value)}
    with pytest.raises(ConfigError) as caught:
        configuration.check(bad, SCHEMA)
    assert words in str(caught.value)
