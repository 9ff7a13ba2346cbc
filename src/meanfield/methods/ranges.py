"""Checks that the optimisers' hyper-parameters share."""

import math

# More inner steps or agents than this are a slip of the pen, and would fill the memory.
LARGEST_COUNT = 10**6


def require_range(name: str, value: float, low: float, high: float, *, include_high: bool = False) -> None:
    """Refuse a hyper-parameter outside [low, high), or [low, high]."""
    if not _is_number(value) or not (low <= value < high or (include_high and value == high)):
        bound = "" if high == math.inf else f" and {'at most' if include_high else 'less than'} {high:g}"
        msg = f"{name}: {value!r} found; a number of at least {low:g}{bound} needed"
        raise ValueError(msg)


def require_positive(name: str, value: float) -> None:
    """Refuse a hyper-parameter that is not a positive number."""
    if not _is_number(value) or not 0 < value < math.inf:
        msg = f"{name}: {value!r} found; a positive number needed"
        raise ValueError(msg)


def require_count(name: str, value: int, low: int) -> None:
    """Refuse a hyper-parameter that is not a whole number from `low` to `LARGEST_COUNT`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= LARGEST_COUNT:
        msg = f"{name}: {value!r} found; a whole number from {low} to {LARGEST_COUNT} needed"
        raise ValueError(msg)


def _is_number(value: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
