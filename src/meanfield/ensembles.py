"""What an ensemble of runs consists of, and when it is seen; without the runs, so that planning loads no numerics."""

from collections.abc import Iterable

# Times that differ by less than this share are one: they differ by rounding alone.
_ROUNDING = 1e-12


def cells(ensemble: dict) -> list[tuple[int, float]]:
    """Return width and step size of every cell of an ensemble, as its block of the configuration has them."""
    if "noise_ratio" in ensemble:
        return [(n, ensemble["noise_ratio"] / n) for n in ensemble["neurons"]]
    return [(n, step) for n in ensemble["neurons"] for step in ensemble["step_sizes"]]


def record_iterations(times: list[float], step_size: float) -> list[int]:
    """Return the iterations nearest to some mean-field times [count]; several times may share one."""
    return [round(t / step_size) for t in times]


def record_times(times: list[float], step_size: float) -> list[float]:
    """Return the times of these iterations, k times the step size [1].

    A time that is a multiple of the step but for rounding is returned as it is.
    """
    found = [k * step_size for k in record_iterations(times, step_size)]
    return [t if abs(t - at) <= _ROUNDING * t else at for t, at in zip(times, found, strict=True)]


def united(times: Iterable[float]) -> list[float]:
    """Return times in increasing order [1], those that differ by rounding alone once."""
    ordered = sorted(set(times))
    return [t for n, t in enumerate(ordered) if n == 0 or t - ordered[n - 1] > _ROUNDING * t]
