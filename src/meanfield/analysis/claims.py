"""Claims: from analysed datasets to an estimate with its interval, and from that and a criterion to a verdict.

Each function of `STATISTICS` takes one to three analysed datasets and the parameters that `report/claims.yaml` gives,
and returns an `Estimate`. Intervals are at 95 %. Means over replicates have Student's interval, on the logarithmic
scale where the quantity is a ratio; where two runs share their samples and initial weights, the ratio is taken
replicate by replicate first, so that what they share cancels. Shares have the exact interval of Clopper and Pearson.
What is not random has an interval of its own kind, such as the spread of two solvers. Nothing here reads a file.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from meanfield.analysis.intervals import log_interval, mean_interval, score_interval
from meanfield.analysis.slopes import first_crossings, logs_at

Floats = NDArray[np.float64]

LEVEL = 0.95
REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
NOT_EVALUATED = "not evaluated"
# From the weakest on: a claim has the first of these that one of its parts has.
VERDICTS = (NOT_REPRODUCED, NOT_EVALUATED, INCONCLUSIVE, REPRODUCED)

STUDENT = "Student's t over replicates"
PAIRED = "Student's t over pairs of replicates"
EXACT_SHARE = "exact (Clopper-Pearson)"
STORED = "as analysed"
SIMULTANEOUS = "simultaneous for all pairs of methods"
SOLVERS = "spread of the solvers"
LOCATED = "to which its end is located"
BRACKET = "between the steps where no run and where every run escapes"
LAST_STRENGTHS = "over the last two strengths"
AT_LEAST, AT_MOST = "at least", "at most"
EXACT = "not random"
# Relative precision to which the end of a minimum under smoothing is located; see problems.smoothing.follow_minimum.
_LOCATED = 1e-4


class UnavailableError(Exception):
    """A statistic cannot be evaluated: something that it needs is not part of this run."""


class Estimate(NamedTuple):
    """An estimate with its interval; the ends are nan where nothing tells them, or infinite."""

    value: float
    low: float
    high: float
    count: int  # replicates, pairs, trials or methods behind it
    interval: str  # of which kind it is
    decided_by: str = ""  # of an extreme over methods: the label of the one that has it
    bound: str = ""  # AT_LEAST or AT_MOST where the value is but a bound


# -- verdicts -------------------------------------------------------------------------------------------------------


def region(part: dict[str, Any]) -> tuple[float, float]:
    """Return the closed range in which a quantity has to lie, from the keys `above`, `below` or `between`."""
    if "between" in part:
        low, high = part["between"]
        return float(low), float(high)
    return float(part.get("above", -math.inf)), float(part.get("below", math.inf))


def verdict(estimate: Estimate, wanted: tuple[float, float]) -> str:
    """Return what an interval says about a range: inside, outside, or neither."""
    low, high = estimate.low, estimate.high
    if math.isnan(low) or math.isnan(high) or math.isnan(estimate.value):
        return INCONCLUSIVE
    if wanted[0] <= low and high <= wanted[1]:
        return REPRODUCED
    if high < wanted[0] or low > wanted[1]:
        return NOT_REPRODUCED
    return INCONCLUSIVE


def weakest(verdicts: list[str]) -> str:
    """Return the verdict of a claim, all parts of which have to hold: the weakest of theirs."""
    return next(one for one in VERDICTS if one in verdicts)


def evaluate(part: dict[str, Any], datasets: list[xr.Dataset]) -> dict[str, Any]:
    """Return estimate, interval and verdict of one part of a claim.

    Parameters
    ----------
    part : dict
        Entry of `parts` in `report/claims.yaml`.
    datasets : list of xarray.Dataset
        Those that it names, in its order.

    Returns
    -------
    dict
        `estimate`, `low`, `high` [unit of the statistic], `count`, `interval` (its kind), `decided_by`, `bound`,
        `verdict`, and `reason`, which says why there is none where there is none.

    """
    wanted = region(part)
    found = {"criterion_low": wanted[0], "criterion_high": wanted[1], "reason": ""}
    try:
        estimate = STATISTICS[part["statistic"]](*datasets, **part.get("with", {}))
    except UnavailableError as error:
        return found | not_evaluated(str(error))
    return found | {
        "estimate": float(estimate.value),
        "low": float(estimate.low),
        "high": float(estimate.high),
        "count": int(estimate.count),
        "interval": estimate.interval,
        "decided_by": estimate.decided_by,
        "bound": estimate.bound,
        "verdict": verdict(estimate, wanted),
    }


def not_evaluated(reason: str) -> dict[str, Any]:
    """Return the entry of a part that cannot be evaluated, with the reason."""
    nan = math.nan
    return {
        "estimate": nan, "low": nan, "high": nan, "count": 0, "interval": "", "decided_by": "", "bound": "",
        "verdict": NOT_EVALUATED,
        "reason": reason,
    }  # fmt: skip


# -- parts of datasets ----------------------------------------------------------------------------------------------


def _picked(dataset: xr.Dataset, variable: str, select: dict[str, Any]) -> xr.DataArray:
    # One entry along some axes: by its label, or the first or the last.
    if variable not in dataset.variables:
        raise UnavailableError(f"no variable {variable!r} in this dataset")
    found = dataset[variable]
    for axis, label in select.items():
        if axis not in found.dims:
            raise UnavailableError(f"variable {variable!r} has no axis {axis!r}")
        if label in ("first", "last"):
            found = found.isel({axis: 0 if label == "first" else -1})
            continue
        labels = dataset[axis].values
        numbers = isinstance(label, int | float) and np.issubdtype(labels.dtype, np.number)
        same = np.isclose(labels, label, rtol=1e-9) if numbers else labels.astype(str) == str(label)
        if not same.any():
            known = ", ".join(map(str, labels))
            raise UnavailableError(f"no {axis} {label!r} in this run (there are: {known})")
        found = found.isel({axis: int(np.flatnonzero(same)[0])})
    return found


def _samples(array: xr.DataArray, axes: tuple[str, ...]) -> Floats:
    # The values of a variable along some axes, which must be all that it has.
    if set(array.dims) != set(axes):
        raise UnavailableError(f"variable {array.name!r} has the axes {', '.join(map(str, array.dims)) or 'none'}")
    return array.transpose(*axes).values.astype(float)


def _mean(values: Floats, *, logarithmic: bool, kind: str) -> Estimate:
    # Mean and interval of what is defined.
    kept = values[np.isfinite(values)]
    if not kept.size:
        raise UnavailableError("no replicate has a value")
    band = (log_interval if logarithmic else mean_interval)(kept, LEVEL)
    return Estimate(*map(float, band), kept.size, kind)


def _common(first: xr.Dataset, second: xr.Dataset, variable: str, select: dict) -> tuple[Floats, Floats]:
    # Gradient counts of the first run's records up to the end of the shorter run, and there the difference of the
    # logarithms of both, replicate by common replicate. Where the second run has no record it is interpolated, on
    # logarithmic axes.
    for dataset in (first, second):
        if "evaluation" not in dataset or "replicate" not in dataset.coords:
            raise UnavailableError("a dataset of runs with their gradient counts is needed")
    both = np.intersect1d(first["replicate"].values, second["replicate"].values)
    if not both.size:
        raise UnavailableError("the two runs have no replicates in common")
    spent, logs = [], []
    for dataset in (first, second):
        array = _picked(dataset, variable, {axis: label for axis, label in select.items() if axis in dataset.dims})
        table = _samples(array, ("replicate", "record"))[np.searchsorted(dataset["replicate"].values, both)]
        spent.append(dataset["evaluation"].values.astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs.append(np.log(table))
    last = min(spent[0][-1], spent[1][-1]) * (1 + 1e-9)
    kept = spent[0] <= last
    return spent[0][kept], logs[0][:, kept] - logs_at(spent[0][kept], spent[1], logs[1])


# -- statistics of runs ---------------------------------------------------------------------------------------------


def replicate_mean(
    dataset: xr.Dataset, *, variable: str, select: dict | None = None, scale: str = "linear"
) -> Estimate:
    """Return the mean over replicates of a value that each has; the geometric one on the scale `log`."""
    values = _samples(_picked(dataset, variable, select or {}), ("replicate",))
    return _mean(values, logarithmic=scale == "log", kind=STUDENT)


def share(
    dataset: xr.Dataset,
    *,
    variable: str,
    select: dict | None = None,
    above: float = -math.inf,
    below: float = math.inf,
) -> Estimate:
    """Return the share of runs whose value is more than one bound and less than another."""
    values = _picked(dataset, variable, select or {}).values.astype(float).reshape(-1)
    values = values[~np.isnan(values)]
    if not values.size:
        raise UnavailableError("no run has a value")
    hits = int(((values > above) & (values < below)).sum())
    # Clopper & Pearson (1934), Biometrika 26, 404.
    tail, misses = (1 - LEVEL) / 2, values.size - hits
    low = special.betaincinv(hits, misses + 1, tail) if hits else 0.0
    high = special.betaincinv(hits + 1, misses, 1 - tail) if misses else 1.0
    return Estimate(hits / values.size, float(low), float(high), values.size, EXACT_SHARE)


def stored(dataset: xr.Dataset, *, variable: str, select: dict | None = None, by: str = "") -> Estimate:
    """Return a value with the interval that was analysed with it, both divided by another value of the dataset.

    A number without an interval is one that nothing random decides.
    """
    name = f"{variable}_mean" if f"{variable}_mean" in dataset else variable
    ends = [f"{variable}_low", f"{variable}_high"]
    random = any(end in dataset for end in ends)
    names = [name, *ends] if random else [name]
    value, *ends = (float(_samples(_picked(dataset, one, select or {}), ())) for one in names)
    unit = float(_samples(_picked(dataset, by, {}), ())) if by else 1.0
    low, high = ends or (value, value)
    low, high = low / unit, high / unit
    return Estimate(value / unit, low, high, dataset.sizes.get("replicate", 0), STORED if random else EXACT)


def paired_ratio(
    first: xr.Dataset,
    second: xr.Dataset,
    *,
    variable: str = "risk",
    select: dict | None = None,
    since: float = 1.0,
    until: float = 1.0,
    scale: str = "ratio",
) -> Estimate:
    """Return the ratio of two runs at the same numbers of gradients, replicate by replicate, on common samples.

    It is the geometric mean over the replicates and over the first run's records from the share `since` to the share
    `until` of the gradients that both have spent; the last record up to there if no record lies between. On the scale
    `log10` it is the decimal logarithm of the ratio.
    """
    spent, logs = _common(first, second, variable, select or {})
    last = min(float(run["evaluation"].values[-1]) for run in (first, second))
    chosen = (spent >= since * last * (1 - 1e-9)) & (spent <= until * last * (1 + 1e-9))
    if not chosen.any():
        chosen[np.flatnonzero(spent <= until * last)[-1]] = True
    values = logs[:, chosen].mean(axis=1)
    if scale == "log10":
        return _mean(values / math.log(10), logarithmic=False, kind=PAIRED)
    return _mean(np.exp(values), logarithmic=True, kind=PAIRED)


def late_ratio(
    dataset: xr.Dataset, *, variable: str = "risk", select: dict | None = None, since: float = 0.1
) -> Estimate:
    """Return the value at the end by that after a share of the gradients, geometric mean over replicates.

    Near one the curve has become flat. With the share zero it is the end by the beginning. Between records the curve is
    interpolated, on logarithmic axes. What takes no gradients, the solution of a flow, goes by its time.
    """
    values = _samples(_picked(dataset, variable, select or {}), ("replicate", "record"))
    spent = dataset["evaluation" if "evaluation" in dataset else "time"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
        start = logs_at(np.array([since * spent[-1]]), spent, logs)[:, 0]
        return _mean(np.exp(logs[:, -1] - start), logarithmic=True, kind=STUDENT)


def crossing_ratio(
    first: xr.Dataset, second: xr.Dataset, *, level: float, variable: str = "risk", select: dict | None = None
) -> Estimate:
    """Return how many times the gradients of the second run the first one needs to fall to a level.

    A first run that never falls so far counts with the gradients that it has spent, which is a lower bound; pairs whose
    second run never does are left out.
    """
    gradients = []
    for dataset in (first, second):
        if "evaluation" not in dataset:
            raise UnavailableError("the dataset has no gradient counts")
        values = _samples(_picked(dataset, variable, select or {}), ("replicate", "record"))
        spent = dataset["evaluation"].values.astype(float)
        gradients.append((first_crossings(spent, values, np.full(len(values), level)), spent[-1]))
    count = min(len(found) for found, _ in gradients)
    (one, last), (other, _) = gradients
    return _mean(np.where(np.isnan(one), last, one)[:count] / other[:count], logarithmic=True, kind=PAIRED)


def selection_ratio(
    dataset: xr.Dataset, second: xr.Dataset | None = None, *, variable: str, select: dict, against: dict
) -> Estimate:
    """Return the ratio of two entries of one variable, replicate by replicate where it has replicates.

    The other entry is of the second dataset, where there is one; their replicates must be the same.
    """
    one, other = _picked(dataset, variable, select), _picked(dataset if second is None else second, variable, against)
    with np.errstate(divide="ignore", invalid="ignore"):
        if "replicate" in one.dims:
            ratio = _samples(one, ("replicate",)) / _samples(other, ("replicate",))
            return _mean(ratio, logarithmic=True, kind=PAIRED)
        ratio = float(_samples(one, ()) / _samples(other, ()))
    return Estimate(ratio, ratio, ratio, 1, EXACT)


# -- statistics of limit equations ----------------------------------------------------------------------------------


def limit_value(dataset: xr.Dataset, *, limits: list[str], variable: str = "risk", since: float = -1.0) -> Estimate:
    """Return the value that a limit equation ends with; the interval is the spread of the solvers.

    With a share `since` of the last time it is the end by the value at the last record up to then.
    """
    found = []
    for limit in limits:
        try:
            curve = _samples(_picked(dataset, variable, {"limit": limit}), ("record",))
        except UnavailableError:
            if limit == limits[0]:
                raise
            continue
        time = dataset["time"].values
        start = np.flatnonzero(time <= since * time[-1])
        found.append(float(curve[-1] / curve[start[-1]] if start.size else curve[-1]))
    ends = (min(found), max(found)) if len(found) > 1 else (math.nan, math.nan)
    return Estimate(found[0], *ends, len(found), SOLVERS)


def deviation_ratio(first: xr.Dataset, second: xr.Dataset, *, limit: str, since: float = 0.0) -> Estimate:
    """Return the largest distance of the first run from a limit equation by that of the second.

    Both are taken from the mean-field time `since` to the end of the shorter run, replicate by common replicate.
    """
    both = np.intersect1d(first["replicate"].values, second["replicate"].values)
    if not both.size:
        raise UnavailableError("the two runs have no replicates in common")
    end = min(float(np.nanmax(run["limit_time"].values)) for run in (first, second)) * (1 + 1e-9)
    largest = []
    for run in (first, second):
        time = run["limit_time"].values
        risk = _samples(_picked(run, "risk", {}), ("replicate", "record"))
        distance = np.abs(risk - _samples(_picked(run, "risk_limit", {"limit": limit}), ("record",)))
        chosen = (time >= since * (1 - 1e-9)) & (time <= end) & np.isfinite(distance).all(axis=0)
        if not chosen.any():
            raise UnavailableError(f"the limit equation {limit!r} and the runs have no times in common")
        largest.append(distance[np.searchsorted(run["replicate"].values, both)][:, chosen].max(axis=1))
    return _mean(largest[0] / largest[1], logarithmic=True, kind=PAIRED)


def explained_share(dataset: xr.Dataset, *, limit: str, base: str) -> Estimate:
    """Return which share of the final difference between runs and one limit equation another one has."""
    reference = _limit_end(dataset, base)
    values = _samples(_picked(dataset, "risk", {"record": "last"}), ("replicate",)) - reference
    gap = _mean(values, logarithmic=False, kind=STUDENT)
    part = _limit_end(dataset, limit) - reference
    if not gap.low > 0:
        return Estimate(part / gap.value, math.nan, math.nan, gap.count, STUDENT)
    return Estimate(part / gap.value, *sorted((part / gap.high, part / gap.low)), gap.count, STUDENT)


def _limit_end(dataset: xr.Dataset, limit: str) -> float:
    value = float(_samples(_picked(dataset, "risk_limit", {"limit": limit, "record": "last"}), ()))
    if math.isnan(value):
        raise UnavailableError(f"the limit equation {limit!r} has no value at the end of the runs")
    return value


# -- statistics of the plane ----------------------------------------------------------------------------------------


def difference(dataset: xr.Dataset, *, first: str, second: str, stage: str = "polished") -> Estimate:
    """Return by how much the share at the lowest minimum differs between two methods, over the same starts."""
    values = [
        float(_samples(_picked(dataset, f"difference{end}_{stage}", {"run": first, "other": second}), ()))
        for end in ("", "_low", "_high")
    ]
    return Estimate(*values, int(dataset["starts"]), SIMULTANEOUS)


def greatest_difference(dataset: xr.Dataset, *, runs: list[str], other: str, stage: str = "polished") -> Estimate:
    """Return the greatest such difference between some methods and one other; of those that this run has."""
    return _extreme(dataset, {run: (run, other) for run in runs}, stage, max)


def least_difference(dataset: xr.Dataset, *, run: str, others: list[str], stage: str = "polished") -> Estimate:
    """Return the least such difference between one method and some others; of those that this run has."""
    return _extreme(dataset, {other: (run, other) for other in others}, stage, min)


def _extreme(dataset: xr.Dataset, pairs: dict[str, tuple[str, str]], stage: str, extreme: Callable) -> Estimate:
    # Over pairs by the method that varies among them.
    found = {}
    for name, (first, second) in pairs.items():
        try:
            found[name] = difference(dataset, first=first, second=second, stage=stage)
        except UnavailableError as error:
            reason = error
    if not found:
        raise reason
    # The intervals of all pairs hold together, and so does that of the extreme.
    ends = [extreme(column) for column in list(zip(*found.values(), strict=True))[:3]]
    decides = next(name for name, one in found.items() if one.value == ends[0])
    label = str(_picked(dataset, "label", {"run": decides}).values) if "label" in dataset else decides
    return Estimate(*ends, len(found), SIMULTANEOUS, decided_by=label)


def even_splits(
    dataset: xr.Dataset,
    *,
    within: list[float],
    first: str = "minimum 1",
    second: str = "minimum 2",
    stage: str = "polished",
    runs: list[str] | None = None,
) -> Estimate:
    """Return the share of methods that divide their starts about equally between two minima.

    For each method: of the starts that end at either, the share at the first one, with Wilson's interval for coupled
    starts. The method counts if that share lies within the bounds; the ends of the interval count the methods whose
    interval does so completely, and those whose interval does so in part.
    """
    known = [str(run) for run in dataset["run"].values]
    chosen = [run for run in (runs or known) if run in known]
    if not chosen:
        raise UnavailableError("none of these methods is part of this run")
    both = [_picked(dataset, f"count_{stage}", {"destination": minimum}).values for minimum in (first, second)]
    effect = _picked(dataset, f"design_effect_{stage}", {}).values
    inside = []
    for run in chosen:
        place = known.index(run)
        one, other = (float(counts[place]) for counts in both)
        if one + other == 0:
            inside.append((False, False, True))
            continue
        at, low, high = score_interval(one / (one + other), (one + other) / float(effect[place]), special.ndtri(0.975))
        inside.append((within[0] <= at <= within[1], within[0] <= low and high <= within[1],
                       low <= within[1] and high >= within[0]))  # fmt: skip
    return Estimate(*np.mean(inside, axis=0), len(chosen), "from the intervals of the methods")


def survival(dataset: xr.Dataset, *, smoothing: str, minimum: int, against: str = "") -> Estimate:
    """Return up to which strength of a smoothing a minimum survives, by the greatest strength that was tried.

    With another smoothing, `against`, by the strength up to which it survives that one. A minimum that is still there
    at the greatest strength counts with that one, which is a bound: its interval is open to that side.
    """
    last = float(dataset["strength"].values[-1])
    ends, stays = [], []
    for name in filter(None, (smoothing, against)):
        array = _picked(dataset, "end_time", {"smoothing": name})
        if minimum > array.size:
            raise UnavailableError(f"this potential has {array.size} minima in its window")
        stays.append(not np.isfinite(array.values[minimum - 1]))
        ends.append(min(float(array.values[minimum - 1]), last))
    value = ends[0] / (ends[1] if against else last)
    if all(stays) and against:  # one bound by another tells nothing
        return Estimate(value, math.nan, math.nan, 1, LOCATED)
    error = 0.0 if all(stays) else _LOCATED * value
    if stays[0]:
        return Estimate(value, value - error, math.inf, 1, LOCATED, bound=AT_LEAST)
    if against and stays[1]:
        return Estimate(value, 0.0, value + error, 1, LOCATED, bound=AT_MOST)
    return Estimate(value, value - error, value + error, 1, LOCATED)


def displacement(dataset: xr.Dataset, *, smoothing: str, minimum: int) -> Estimate:
    """Return how far a smoothing has moved a minimum at the greatest strength that it survives [unit of length].

    The interval spans the last two strengths, between which the path is not known.
    """
    array = _picked(dataset, "displacement", {"smoothing": smoothing})
    if minimum > array.sizes["minimum"]:
        raise UnavailableError(f"this potential has {array.sizes['minimum']} minima in its window")
    path = array.isel(minimum=minimum - 1).values
    path = path[np.isfinite(path)]
    if not path.size:
        raise UnavailableError("the minimum survives no strength of this smoothing")
    return Estimate(float(path[-1]), float(path[-2:].min()), float(path[-2:].max()), 1, LAST_STRENGTHS)


def escape_radius(sweep: xr.Dataset, limits: xr.Dataset) -> Estimate:
    """Return the norm at which noise balances the drift, where runs begin to escape, by the repelling radius.

    The interval spans from the largest step at which no run of the sweep escaped to the smallest at which all did, and
    the value is its geometric middle.
    """
    ends = [float(_samples(_picked(sweep, name, {}), ())) for name in ("stuck_up_to", "free_from")]
    if not np.isfinite(ends).all():
        raise UnavailableError("the sweep has no step at which no run escapes, or none at which every run does")
    radii, attracts = (_picked(limits, name, {}).values for name in ("shell_radius", "shell_attracts"))
    if not (attracts == 0).any():
        raise UnavailableError("the limit equation has no repelling radius")
    steps, floors = (_picked(sweep, name, {}).values for name in ("step_size", "noise_floor"))
    low, high = (float(floors[steps == end][0] / radii[attracts == 0][0]) for end in ends)
    if not np.isfinite([low, high]).all():
        raise UnavailableError("the method of the sweep has no noise floor")
    return Estimate(math.sqrt(low * high), low, high, sweep.sizes["replicate"], BRACKET)


STATISTICS: dict[str, Callable[..., Estimate]] = {
    function.__name__: function
    for function in (
        replicate_mean, share, stored, paired_ratio, late_ratio, crossing_ratio, selection_ratio, limit_value,
        deviation_ratio, explained_share, difference, greatest_difference, least_difference, even_splits, survival,
        displacement, escape_radius,
    )
}  # fmt: skip
