"""Laws and records out of the datasets of limit equations, of either kind of solver. The labelled edge of analysis."""

import numpy as np
import xarray as xr

from meanfield import io
from meanfield.analysis.distances import Law, weighted
from meanfield.analysis.intervals import largest, mean_interval
from meanfield.errors import DataError

# Probabilities of the quantiles that are kept of the reduced variables.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def law_at(limit: xr.Dataset, record: int) -> Law:
    """Return the law of the norm of a limit equation's solution at one record."""
    one = limit.isel(record=record)
    if "position" in limit:
        return weighted(one["position"].values, one["mass"].values)
    cells = one["density"].values * np.diff(limit["edge"].values)
    return weighted(
        np.concatenate([[0.0], one["centre"].values]), np.concatenate([[float(one["mass_at_zero"])], cells])
    )


def records_at(limit: xr.Dataset, times: np.ndarray, path: str) -> np.ndarray:
    """Return the records of a limit equation that sit at the given times."""
    index = np.abs(limit["time"].values[None, :] - times[:, None]).argmin(axis=1)
    off = np.abs(limit["time"].values[index] - times)
    if (off > 1e-9 * np.maximum(times, 1e-300)).any():
        raise DataError(f"{path}: has no record at t = {times[off.argmax()]:.6g}; delete it and run again")
    return index


def cell_records(limit: xr.Dataset, runs: xr.Dataset) -> np.ndarray:
    """Return the records of a limit that sit at the times of an ensemble's, shape (cell, record)."""
    times = runs["time"].values
    return records_at(limit, times.ravel(), "the prediction").reshape(times.shape)


def comparable_records(
    limit: xr.Dataset, times: np.ndarray, path: str, *, complete: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some times a limit equation has a record of, and the records.

    Parameters
    ----------
    limit : xarray.Dataset
        Solution of a limit equation.
    times : array
        Mean-field times; undefined ones, and ones beyond the solution's end, have no record.
    path : str
        Its file, for messages.
    complete : bool
        Whether all other times must have one.

    Returns
    -------
    found : array of bool, shape of `times`
        Whether there is a record.
    index : array of int
        The records of those that have one.

    """
    last = limit["time"].values[-1] * (1 + 1e-9)
    found = np.zeros(times.shape, dtype=bool)
    found[np.isfinite(times)] = times[np.isfinite(times)] <= last
    if complete:
        return found, records_at(limit, times[found], path)
    known = limit["time"].values
    place = np.abs(known[None, :] - np.where(found, times, 0.0)[:, None]).argmin(axis=1)
    found &= np.abs(known[place] - times) <= 1e-9 * np.maximum(times, 1e-300)
    return found, place[found]


def records_from(time: np.ndarray, start: float) -> np.ndarray:
    """Return which records lie at a mean-field time or later: the last one, if none does or the time is unknown."""
    late = np.nan_to_num(time, nan=-1.0) >= start * (1 - 1e-9)
    if not late.any():
        late[-1] = True
    return late


def time_average(values: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the mean over time of values at records, shape (…, record); of a single record, its value.

    By the trapezoidal rule: records are spaced by their logarithms, and those of the beginning must not prevail.
    """
    if time.size < 2:
        return values[..., -1]
    return np.trapezoid(values, time, axis=-1) / (time[-1] - time[0])


def risk_variables(risk: np.ndarray, limit_risk: np.ndarray, time: np.ndarray, start: float) -> dict[str, tuple]:
    """Return the labelled risk of a simulation: bands over replicates, and deviations from the limit equations.

    Parameters
    ----------
    risk : array, shape (replicate, record)
        Population risks [1].
    limit_risk : array, shape (limit, record)
        Those of the limit equations; nan where there is none [1].
    time : array, shape (record,)
        Mean-field times [1].
    start : float
        Deviations are summarised from this mean-field time on [1].

    """
    v = io.variable
    late = records_from(time, start)
    deviation = (risk[None] - limit_risk[:, None])[..., late]
    band, final = mean_interval(risk), mean_interval(risk[:, -1])
    return {
        "risk": v("replicate record", risk, "population risk"),
        "risk_mean": v("record", band.mean, "population risk, mean over replicates"),
        "risk_low": v("record", band.low, "lower end of the 95 % interval of the mean risk"),
        "risk_high": v("record", band.high, "upper end of the 95 % interval of the mean risk"),
        "risk_least": v("record", risk.min(axis=0), "smallest population risk over replicates"),
        "risk_largest": v("record", risk.max(axis=0), "largest population risk over replicates"),
        "risk_limit": v("limit record", limit_risk, "population risk of the limit equation"),
        "risk_deviation_max": v(
            "limit replicate",
            largest(np.abs(deviation)),
            f"largest risk deviation from the limit from t = {start:g} on",
        ),
        "risk_deviation_mean_max": v(
            "limit",
            largest(np.abs(deviation.mean(axis=1))),
            f"largest deviation of the mean risk from the limit from t = {start:g} on",
        ),
        "final_risk_limit": v("limit", limit_risk[:, -1], "population risk of the limit equation at the same time"),
        "final_risk_each": v("replicate", risk[:, -1], "population risk at the end of each run"),
        "final_risk": v("", final.mean, "population risk at the end"),
        "final_risk_low": v("", final.low, "lower end of its 95 % interval"),
        "final_risk_high": v("", final.high, "upper end of its 95 % interval"),
    }


def histogram_at(limit: xr.Dataset, record: int, edges: np.ndarray) -> np.ndarray:
    """Return the density of a solution's law averaged over each bin; cells spread their mass evenly."""
    if "position" in limit:
        law = law_at(limit, record)
        return np.histogram(law.position, edges, weights=law.mass)[0] / np.diff(edges)
    one = limit.isel(record=record)
    cells = limit["edge"].values
    levels = float(one["mass_at_zero"]) + np.concatenate([[0.0], np.cumsum(one["density"].values * np.diff(cells))])
    at = np.interp(edges, cells, levels)
    at[0] = 0.0 if edges[0] <= 0 else at[0]
    return np.diff(at) / np.diff(edges)
