"""Statistics against numbers computed by hand, and datasets that flip every verdict of every statistic."""

import inspect
import math

import numpy as np
import pytest
import xarray as xr
import yaml
from conftest import ROOT, load
from scipy import stats

from meanfield import config as configuration
from meanfield import io, ledger
from meanfield.analysis import claims
from meanfield.analysis.claims import INCONCLUSIVE, NOT_EVALUATED, NOT_REPRODUCED, REPRODUCED, Estimate
from meanfield.errors import ConfigError

SPENT = np.array([0, 1, 10, 50, 100])
NOISE = np.array([-0.03, 0.01, 0.02, -0.01, 0.01])  # of five replicates


def runs(table, variable="risk", spent=SPENT, **more):
    """Runs with their gradient counts, shape (replicate, record)."""
    table = np.asarray(table, float)
    return xr.Dataset(
        {variable: (("replicate", "record"), table), "evaluation": ("record", spent), **more},
        coords={"replicate": np.arange(len(table))},
    )


def flat(level, spread=1.0):
    """Five runs that stay at a level, with some spread between them."""
    return runs(level * np.exp(spread * NOISE)[:, None] * np.ones(SPENT.size))


def one_value(values, name="x"):
    return xr.Dataset({name: ("replicate", np.asarray(values, float))}, coords={"replicate": np.arange(len(values))})


def falling(end, spread=1.0):
    """Five runs that begin at one and end at a level."""
    table = np.ones((5, SPENT.size))
    table[:, -1] = end * np.exp(spread * NOISE)
    return runs(table)


def limits_of(first, second):
    risk = np.array([[1.0, 1.0, first], [1.0, 1.0, second]])
    return xr.Dataset(
        {"risk": (("limit", "record"), risk)},
        coords={"limit": ["dd", "dd_volume"], "time": ("record", [0.0, 1.0, 10.0])},
    )


def beside_limits(end, spread):
    """Runs beside a limit that ends at 0 and one that ends at 1."""
    found = runs(np.tile((end + spread * NOISE)[:, None], SPENT.size))
    risk = np.array([np.zeros(SPENT.size), np.ones(SPENT.size)])
    return found.assign(risk_limit=(("limit", "record"), risk)).assign_coords(
        limit=["none", "all"], limit_time=("record", SPENT)
    )


def minima(values, low, high):
    """Differences of run a to b and to c."""
    tables = {f"difference{end}_polished": np.zeros((3, 3)) for end in ("", "_low", "_high")}
    for end, row in zip(("", "_low", "_high"), (values, low, high), strict=True):
        tables[f"difference{end}_polished"][0, 1:] = row
        tables[f"difference{end}_polished"][1:, 0] = row
    return xr.Dataset(
        {name: (("run", "other"), table) for name, table in tables.items()} | {"starts": ((), 100)},
        coords={"run": ["a", "b", "c"], "other": ["a", "b", "c"]},
    )


def splits(*shares, starts=10000):
    first = np.array([round(share * starts) for share in shares])
    return xr.Dataset(
        {
            "count_polished": (("run", "destination"), np.stack([first, starts - first], axis=1)),
            "design_effect_polished": ("run", np.ones(len(shares))),
        },
        coords={"run": [f"r{n}" for n in range(len(shares))], "destination": ["minimum 1", "minimum 2"]},
    )


def smoothed(end, displacement=(0.0, 0.0, 0.0)):
    return xr.Dataset(
        {
            "end_time": (("minimum", "smoothing"), np.array([[end, np.inf]])),
            "displacement": (("minimum", "smoothing", "strength"), np.array([[displacement, [0.0] * 3]])),
        },
        coords={"smoothing": ["heat", "viscous"], "strength": [1.0, 2.0, 4.0]},
    )


def escape(stuck, free):
    """A sweep with a noise floor of 100 times the step, and a limit with a repelling radius of 0.5."""
    steps = np.array([5e-4, stuck, free])
    sweep = xr.Dataset(
        {
            "stuck_up_to": ((), stuck),
            "free_from": ((), free),
            "step_size": ("candidate", steps),
            "noise_floor": ("candidate", 100 * steps),
            "risk": (("candidate", "replicate"), np.zeros((3, 3))),
        }
    )
    limit = xr.Dataset({"shell_radius": ("shell", [0.5, 2.0]), "shell_attracts": ("shell", [0, 1])})
    return [sweep, limit]


def stored(value, low, high):
    return xr.Dataset({"y": ((), value), "y_low": ((), low), "y_high": ((), high), "unit": ((), 2.0)})


# Of each statistic: its parameters, its criterion, and datasets that make the part reproduced, not reproduced and
# inconclusive.
FLIPS = {
    "replicate_mean": (
        {"variable": "x"}, {"below": 1.0},
        [one_value([0.8, 0.9, 0.85])], [one_value([1.8, 1.9, 1.85])], [one_value([0.7, 1.2, 1.0])],
    ),
    "share": (
        {"variable": "x", "below": 0.05}, {"above": 0.5},
        [one_value([0.01] * 12)], [one_value([0.5] * 12)], [one_value([0.01] * 6 + [0.5] * 6)],
    ),
    "stored": (
        {"variable": "y", "by": "unit"}, {"between": [0.9, 1.1]},
        [stored(2.0, 1.9, 2.1)], [stored(3.0, 2.9, 3.1)], [stored(2.0, 1.7, 2.3)],
    ),
    "paired_ratio": (
        {}, {"below": 1.0}, [flat(0.5), flat(1.0)], [flat(2.0), flat(1.0)], [flat(1.0, 5.0), flat(1.0, -5.0)],
    ),
    "late_ratio": ({"since": 0.1}, {"above": 0.9}, [falling(1.0)], [falling(0.5)], [falling(0.9)]),
    "crossing_ratio": (
        {"level": 0.5}, {"above": 1.5},
        [falling(0.6), falling(0.01)], [falling(0.01), falling(0.01)], [falling(0.45, 10.0), falling(0.01)],
    ),
    "selection_ratio": (
        {"variable": "x", "select": {"pair": "a"}, "against": {"pair": "b"}}, {"below": 1.0},
        *([xr.Dataset({"x": (("pair", "replicate"), np.stack([c * np.exp(s * NOISE), np.ones(5)]))},
                      coords={"pair": ["a", "b"]})] for c, s in ((0.5, 1), (2.0, 1), (1.0, 1))),
    ),
    "limit_value": (
        {"limits": ["dd", "dd_volume"]}, {"above": 1.0}, [limits_of(2.0, 2.1)], [limits_of(0.5, 0.4)],
        [limits_of(0.9, 1.1)],
    ),
    "deviation_ratio": (
        {"limit": "none"}, {"below": 0.5},
        [beside_limits(0.1, 0.1), beside_limits(1.0, 0.1)], [beside_limits(0.9, 0.1), beside_limits(1.0, 0.1)],
        [beside_limits(0.5, 0.5), beside_limits(1.0, -0.5)],
    ),
    "explained_share": (
        {"limit": "all", "base": "none"}, {"between": [0.8, 1.2]},
        [beside_limits(1.0, 1.0)], [beside_limits(2.0, 1.0)], [beside_limits(0.85, 5.0)],
    ),
    "difference": (
        {"first": "a", "second": "b"}, {"above": 0.0},
        [minima([0.2, 0], [0.1, 0], [0.3, 0])], [minima([-0.2, 0], [-0.3, 0], [-0.1, 0])],
        [minima([0.05, 0], [-0.1, 0], [0.2, 0])],
    ),
    "greatest_difference": (
        {"runs": ["b", "c"], "other": "a"}, {"below": 0.05},
        [minima([0.0, -0.2], [-0.01, -0.3], [0.01, -0.1])], [minima([0.0, 0.3], [-0.01, 0.2], [0.01, 0.4])],
        [minima([0.0, 0.05], [-0.01, 0.02], [0.01, 0.08])],
    ),
    "least_difference": (
        {"run": "a", "others": ["b", "c"]}, {"above": 0.0},
        [minima([0.2, 0.3], [0.1, 0.2], [0.3, 0.4])], [minima([0.2, -0.3], [0.1, -0.4], [0.3, -0.2])],
        [minima([0.2, 0.0], [0.1, -0.1], [0.3, 0.1])],
    ),
    "even_splits": (
        {"within": [0.4, 0.6]}, {"above": 0.5},
        [splits(0.5, 0.5, 0.9)], [splits(0.5, 0.9, 0.9)], [splits(0.5, 0.4, 0.9)],
    ),
    "survival": (
        {"smoothing": "heat", "minimum": 1}, {"below": 0.5}, [smoothed(1.0)], [smoothed(np.inf)], [smoothed(2.0)],
    ),
    "displacement": (
        {"smoothing": "heat", "minimum": 1}, {"above": 0.1},
        [smoothed(9, (0.1, 0.2, 0.3))], [smoothed(9, (0.01, 0.02, np.nan))], [smoothed(9, (0.0, 0.09, 0.11))],
    ),
    "escape_radius": (
        {}, {"between": [0.25, 1.0]}, escape(2e-3, 4e-3), escape(1e-2, 2e-2), escape(4e-3, 6e-3),
    ),
}  # fmt: skip


def test_a_curve_is_interpolated_at_a_share_of_its_gradients():
    # A power law of one plus the gradients is a line between records on these axes.
    found = claims.late_ratio(runs(np.tile(1 / (1 + SPENT), (5, 1))), since=0.37)
    assert found.value == pytest.approx((1 + 0.37 * SPENT[-1]) / (1 + SPENT[-1]), rel=1e-12)


@pytest.mark.parametrize("statistic", claims.STATISTICS)
def test_data_alone_flip_the_verdict(statistic):
    parameters, criterion, *cases = FLIPS[statistic]
    part = {"what": "x", "data": ["a/b"], "statistic": statistic, "with": parameters, **criterion}
    found = [claims.evaluate(part, datasets) for datasets in cases]
    assert [one["verdict"] for one in found] == [REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE]
    for one in found:
        assert one["low"] <= one["estimate"] <= one["high"]
        assert one["interval"]
        assert one["count"] >= 1 or statistic == "stored"


@pytest.mark.parametrize(
    ("estimate", "wanted", "verdict"),
    [
        ((1.0, 0.9, 1.1), (-math.inf, 1.1), REPRODUCED),  # the range is closed
        ((1.0, 0.9, 1.1), (1.1, math.inf), INCONCLUSIVE),
        ((1.0, 0.9, 1.1), (1.2, math.inf), NOT_REPRODUCED),
        ((1.0, 0.9, 1.1), (0.95, 1.05), INCONCLUSIVE),
        ((1.0, 0.9, 1.1), (0.5, 0.8), NOT_REPRODUCED),
        ((1.0, math.nan, math.nan), (0.5, 2.0), INCONCLUSIVE),  # without an interval nothing is decided
        ((1.0, 1.0, 1.0), (1.0, 1.0), REPRODUCED),
    ],
)
def test_a_verdict_is_where_the_interval_lies(estimate, wanted, verdict):
    assert claims.verdict(Estimate(*estimate, 3, "test"), wanted) == verdict


def test_the_weakest_part_decides():
    assert claims.weakest([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert claims.weakest([REPRODUCED, INCONCLUSIVE]) == INCONCLUSIVE
    assert claims.weakest([NOT_EVALUATED, INCONCLUSIVE, REPRODUCED]) == NOT_EVALUATED
    assert claims.weakest([INCONCLUSIVE, NOT_EVALUATED, NOT_REPRODUCED]) == NOT_REPRODUCED


def test_a_mean_has_students_interval():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    found = claims.replicate_mean(one_value(values), variable="x")
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert found[:4] == pytest.approx((3.5, 3.5 - half, 3.5 + half, 4))
    found = claims.replicate_mean(one_value([1.0, 4.0, np.nan]), variable="x", scale="log")
    assert found.value == pytest.approx(2.0)
    assert found.count == 2  # undefined ones do not count
    assert math.isnan(claims.replicate_mean(one_value([1.0]), variable="x").low)


def test_a_share_has_the_exact_interval():
    # All of n: the lower end is the n-th root of 0.025; none of them: its mirror image.
    found = claims.share(one_value([1.0] * 8), variable="x", above=0.5)
    assert found[:3] == pytest.approx((1.0, 0.025 ** (1 / 8), 1.0))
    found = claims.share(one_value([1.0] * 8), variable="x", below=0.5)
    assert found[:3] == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 8)))


def test_pairs_cancel_what_two_runs_share():
    # Replicates that differ by decades: between pairs the ratio is 0.9 up to a per cent.
    common = np.array([1.0, 100.0, 0.01, 10.0, 0.3])
    other = common * np.array([1.0, 1.01, 0.99, 1.0, 1.0])
    first = runs(0.9 * common[:, None] * np.ones(SPENT.size))
    second = runs(other[:, None] * np.ones(SPENT.size))
    found = claims.paired_ratio(first, second)
    assert found.value == pytest.approx(0.9, rel=1e-3)
    assert found.high < 0.92
    # Replicates are paired by name, not by place.
    assert claims.paired_ratio(first, second.isel(replicate=[3, 1, 4, 0, 2]).sortby("replicate")) == found


def test_runs_with_other_records_are_compared_at_the_same_gradients():
    spent = np.array([0, 20, 60, 300])
    power = runs(np.tile(1.0 / (1.0 + SPENT), (3, 1)))
    other = runs(np.tile(2.0 / (1.0 + spent), (3, 1)), spent=spent)
    for first, second, expected in ((power, other, 0.5), (other, power, 2.0)):
        found = claims.paired_ratio(first, second)
        assert found.value == pytest.approx(expected, rel=1e-9)
    assert claims.paired_ratio(power, other, scale="log10").value == pytest.approx(math.log10(0.5), rel=1e-9)


def test_the_window_of_a_ratio_is_a_share_of_the_common_gradients():
    table = np.ones((3, SPENT.size))
    table[:, -1] = 8.0
    first, second = runs(table), runs(np.ones((3, SPENT.size)))
    assert claims.paired_ratio(first, second).value == pytest.approx(8.0)
    assert claims.paired_ratio(first, second, since=0.5).value == pytest.approx(math.sqrt(8.0))  # 50 and 100
    assert claims.paired_ratio(first, second, since=0.1, until=0.1).value == pytest.approx(1.0)
    assert claims.paired_ratio(first, second, since=0.3, until=0.4).value == pytest.approx(1.0)  # the record at 10


def test_a_run_that_never_falls_so_far_counts_as_a_lower_bound():
    stuck = runs(np.ones((4, SPENT.size)))
    quick = np.ones((4, SPENT.size))
    quick[:, 2:] = 0.25
    found = claims.crossing_ratio(stuck, runs(quick), level=0.5)
    # Between 1 and 10 gradients the fall by 4 crosses one half at the geometric middle.
    assert found.value == pytest.approx(100 / math.sqrt(10))


def test_the_explained_share_is_that_of_the_mean_gap():
    found = claims.explained_share(beside_limits(2.0, 1.0), limit="all", base="none")
    half = stats.t.ppf(0.975, 4) * NOISE.std(ddof=1) / math.sqrt(5)
    assert found[:3] == pytest.approx((0.5, 1 / (2 + half), 1 / (2 - half)))


def test_distances_from_a_limit_are_compared_at_common_times():
    def far_from_zero(distances, times):
        found = beside_limits(1.0, 0.0).isel(record=slice(len(times)))
        return found.assign(risk=(("replicate", "record"), np.tile(distances, (5, 1)))).assign_coords(
            limit_time=("record", times)
        )

    long, short = far_from_zero([9.0, 2.0, 8.0], [0.1, 1.0, 10.0]), far_from_zero([7.0, 0.5], [0.2, 1.0])
    found = claims.deviation_ratio(short, long, limit="none", since=0.5)
    assert found[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert claims.deviation_ratio(long, short, limit="none").value == pytest.approx(9 / 7)
    with pytest.raises(claims.UnavailableError, match="times in common"):
        claims.deviation_ratio(short, long, limit="none", since=2.0)


def test_places_are_named_by_numbers_or_by_words():
    named = xr.Dataset({"y": ("dimension", [3.0, 4.0, 5.0])}, coords={"dimension": ["20", "40", "∞"]})
    counted = xr.Dataset({"y": ("dimension", [3.0, 4.0])}, coords={"dimension": [20, 40]})
    for dataset in (named, counted):
        assert claims.stored(dataset, variable="y", select={"dimension": 40}).value == 4.0
    assert claims.stored(named, variable="y", select={"dimension": "∞"}).value == 5.0
    with pytest.raises(claims.UnavailableError):
        claims.stored(named, variable="y", select={"dimension": 80})


def test_a_number_that_nothing_random_decides_is_judged_as_it_stands():
    certificate = xr.Dataset({"gap": ((), 1e-9), "unit": ((), 2.0)})
    found = claims.stored(certificate, variable="gap", by="unit")
    assert found.value == 5e-10
    assert found.low == found.high == found.value
    assert found.interval == claims.EXACT
    assert claims.verdict(found, claims.region({"below": 1e-6})) == REPRODUCED
    assert claims.verdict(found, claims.region({"below": 1e-12})) == NOT_REPRODUCED


def test_smoothings_are_compared_up_to_the_greatest_strength():
    both = smoothed(1.0)
    assert claims.survival(both, smoothing="viscous", minimum=1).value == 1.0
    assert claims.survival(both, smoothing="viscous", minimum=1, against="heat").value == pytest.approx(4.0)


def test_a_minimum_that_stays_gives_a_bound():
    stays = claims.survival(smoothed(np.inf), smoothing="heat", minimum=1)
    assert stays[:3] == (1.0, 1.0, np.inf)
    assert stays.bound == claims.AT_LEAST
    kept = claims.survival(smoothed(1.0), smoothing="viscous", minimum=1, against="heat")
    assert kept.bound == claims.AT_LEAST
    assert kept.low == pytest.approx(4.0, rel=1e-3)
    assert kept.high == np.inf
    lost = claims.survival(smoothed(1.0), smoothing="heat", minimum=1, against="viscous")
    assert lost.bound == claims.AT_MOST
    assert lost[:2] == (0.25, 0.0)
    both = claims.survival(smoothed(np.inf), smoothing="viscous", minimum=1, against="heat")
    assert claims.verdict(both, (1.0, np.inf)) == INCONCLUSIVE


def test_an_extreme_names_the_method_that_has_it():
    shares = minima([0.2, -0.1], [0.1, -0.2], [0.3, 0.0])
    assert claims.least_difference(shares, run="a", others=["b", "c"]).decided_by == "c"
    named = shares.assign(label=("run", ["A", "B", "C"]))
    assert claims.least_difference(named, run="a", others=["b", "c"]).decided_by == "C"
    assert claims.greatest_difference(named, runs=["b", "c"], other="a").decided_by == "B"


def test_the_escape_radius_spans_the_steps_between_stuck_and_free():
    sweep, limits = escape(1e-3, 4e-3)
    found = claims.escape_radius(sweep, limits)
    assert found[:3] == pytest.approx((0.4, 0.2, 0.8))
    with pytest.raises(claims.UnavailableError, match="no noise floor"):
        claims.escape_radius(sweep.assign(noise_floor=sweep["noise_floor"] * np.nan), limits)


@pytest.mark.parametrize(
    ("part", "dataset", "reason"),
    [
        ({"statistic": "replicate_mean", "with": {"variable": "z"}}, one_value([1.0]), "no variable 'z'"),
        ({"statistic": "replicate_mean", "with": {"variable": "x", "select": {"limit": "dd"}}}, one_value([1.0]),
         "variable 'x' has no axis 'limit'"),
        ({"statistic": "limit_value", "with": {"limits": ["gone", "dd"]}}, limits_of(1.0, 1.0),
         "no limit 'gone' in this run (there are: dd, dd_volume)"),
        ({"statistic": "replicate_mean", "with": {"variable": "risk"}}, flat(1.0), "has the axes replicate, record"),
        ({"statistic": "difference", "with": {"first": "a", "second": "z"}}, minima([0, 0], [0, 0], [0, 0]),
         "no other 'z'"),
        ({"statistic": "survival", "with": {"smoothing": "heat", "minimum": 3}}, smoothed(1.0), "1 minima"),
        ({"statistic": "replicate_mean", "with": {"variable": "x"}}, one_value([np.nan]), "no replicate has a value"),
    ],
)  # fmt: skip
def test_what_a_run_lacks_is_a_reason_and_no_crash(part, dataset, reason):
    found = claims.evaluate({"above": 0.0, **part}, [dataset])
    assert found["verdict"] == NOT_EVALUATED
    assert reason in found["reason"]


# -- the file -------------------------------------------------------------------------------------------------------

SCHEMA = ROOT / "schemas/claims.schema.yaml"


@pytest.fixture(scope="module")
def config():
    return configuration.load_config(ROOT / "config.yaml", schema=ROOT / "schemas/config.schema.yaml")


@pytest.fixture(scope="module")
def listed(config):
    return ledger.load_claims(ROOT / "report/claims.yaml", schema=SCHEMA, config=config, base=ROOT / "config.yaml")


def test_the_schema_lists_the_statistics_and_what_they_take():
    root = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    assert root["part"]["properties"]["statistic"]["enum"] == list(claims.STATISTICS)
    for name, function in claims.STATISTICS.items():
        taken = inspect.signature(function).parameters.values()
        block = root[name]["properties"]
        keys = {one.name: one for one in taken if one.kind is one.KEYWORD_ONLY}
        assert set(block["with"]["properties"]) == set(keys), name
        needed = {key for key, one in keys.items() if one.default is one.empty}
        assert set(block["with"].get("required", [])) == needed, name
        assert (root[name].get("required") == ["with"]) == bool(needed), name
        places = [one for one in taken if one.kind is one.POSITIONAL_OR_KEYWORD]
        count = {1: "one", 2: "two", 3: "three"}[len(places)]
        if any(one.default is not one.empty for one in places):
            count = f"one_or_{count}"
        assert block["data"]["$ref"] == f"#/$defs/{count}", name


def test_a_selection_may_be_of_two_datasets():
    runs = [xr.Dataset({"x": (("pair", "replicate"), c * np.ones((1, 3)))}, coords={"pair": ["a"]}) for c in (3.0, 2.0)]
    found = claims.selection_ratio(*runs, variable="x", select={"pair": "a"}, against={"pair": "a"})
    assert found.value == pytest.approx(1.5)


def test_every_claim_is_unique_numbered_and_needs_what_the_configuration_has(listed, config):
    assert len(listed) >= 24
    assert [claim["number"] for claim in listed] == sorted(claim["number"] for claim in listed)
    assert not any(ledger.needed(listed, config).values())


def test_every_statistic_of_the_registry_is_used_and_known_to_the_page(listed):
    used = {part["statistic"] for claim in listed for part in claim["parts"]}
    assert used == set(claims.STATISTICS)
    page = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    assert [name for name in claims.STATISTICS if f"`{name}`" not in page] == []


def test_the_tolerances_of_the_first_claim_are_those_of_the_report(listed, config):
    risk, law = next(claim for claim in listed if claim["id"] == "isotropic_limit")["parts"]
    assert risk["below"] == config["report"]["accepted_risk_deviation"]
    assert law["below"] == config["report"]["accepted_kolmogorov_distance"]


GOOD = {
    "id": "mine", "statement": "s", "place": "p",
    "parts": [{"what": "w", "data": ["isotropic/sgd"], "statistic": "late_ratio", "above": 0.5}],
}  # fmt: skip


def refusal(tmp_path, config, *entries):
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump({"claims": list(entries)}), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        ledger.load_claims(file, schema=SCHEMA, config=config, base=ROOT / "config.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"statistic": "late_ration"}, "claims.0.parts.0.statistic: 'late_ration' found (did you mean 'late_ratio'?)"),
        ({"with": {"sinse": 0.1}}, "claims.0.parts.0.with: unknown key 'sinse' (did you mean 'since'?)"),
        ({"with": {"since": 2.0}}, "claims.0.parts.0.with.since: 2.0 found, at most 1 needed"),
        ({"statistic": "share"}, "claims.0.parts.0: key 'with' is missing"),
        ({"data": ["isotropic/sgd", "isotropic/mass"]}, "a length of at most 1 needed"),
        (
            {"data": ["isotropic/sdg"]},
            "mine.parts.0.data: 'isotropic/sdg' found; experiment 'isotropic' has no dataset",
        ),
        (
            {"data": ["isotropi/sgd"]},
            "experiment 'isotropi' is not part of the configuration (did you mean 'isotropic'?)",
        ),
        ({"above": None}, "mine.parts.0: no criterion found"),
        ({"between": [0.0, 1.0]}, "mine.parts.0: above, between found"),
        ({"above": 2.0, "below": 1.0}, "mine.parts.0: [2.0, 1.0] found; the least value must come first"),
        ({"above": "1e-3"}, "claims.0.parts.0.above: text '1e-3' found, number needed; YAML needs a dot"),
        ({"above": math.inf}, "claims.0.parts.0.above: inf is not a finite number"),
    ],
)
def test_a_slip_in_the_ledger_is_one_clear_line(tmp_path, config, change, line):
    entry = {**GOOD, "parts": [{**GOOD["parts"][0], **change}]}
    text = refusal(tmp_path, config, entry)
    assert len(text.splitlines()) == 1, text
    assert text.startswith("claims: ")
    assert line in text


def test_names_and_numbers_are_given_once(tmp_path, config):
    text = refusal(tmp_path, config, {**GOOD, "number": 3}, {**GOOD, "number": 3})
    assert text.splitlines() == [
        "claims: id 'mine' found 2 times; each claim needs its own",
        "claims: number 3 found 2 times; each claim needs its own",
    ]
    text = refusal(tmp_path, config, {"id": "mine", "statement": "s", "place": "p", "parts": []})
    assert "claims.0.parts: [] found, a length of at least 1 needed" in text


def test_what_an_overlay_removes_is_a_reason_and_no_slip(tmp_path, config):
    without = {**config, "experiments": {k: v for k, v in config["experiments"].items() if k != "isotropic"}}
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump({"claims": [GOOD]}), encoding="utf-8")
    found = ledger.load_claims(file, schema=SCHEMA, config=without, base=ROOT / "config.yaml")
    missing = ledger.needed(found, without)
    assert "experiment 'isotropic' is not part of the configuration" in missing["isotropic/sgd"]
    (claim,) = load("evaluate_claims").evaluate(found, {}, missing)
    assert claim["verdict"] == NOT_EVALUATED
    assert claim["parts"][0]["reason"] == missing["isotropic/sgd"]
    assert claim["parts"][0]["criterion_low"] == 0.5


def test_the_words_of_a_verdict_are_the_claims_own_or_the_general_ones():
    script = load("evaluate_claims")
    claim = {**GOOD, "means": {"not_reproduced": "It fell."}}
    for data, verdict in ((falling(1.0), REPRODUCED), (falling(0.1), NOT_REPRODUCED)):
        (found,) = script.evaluate([claim], {"isotropic/sgd": data}, {})
        assert found["verdict"] == verdict
        assert found["meaning"] == ("It fell." if verdict == NOT_REPRODUCED else script.MEANS[REPRODUCED])


def test_the_ledger_as_a_dataset_has_an_entry_per_part(tmp_path):
    script = load("evaluate_claims")
    evaluated = script.evaluate([GOOD, {**GOOD, "id": "other"}], {"isotropic/sgd": falling(0.9)}, {})
    dataset = script.labelled(evaluated)
    assert dataset["verdict"].values.tolist() == [REPRODUCED] * 2
    assert dataset["claim_of_part"].values.tolist() == [0, 1]
    assert all(variable.attrs["long_name"] for variable in dataset.variables.values())
    file = tmp_path / "x.json"
    io.write_json({"claims": evaluated}, file)
    assert '"criterion_high": null' in file.read_text(encoding="utf-8")  # infinite: no bound
