"""Adaptive restarts of accelerated sequences, and when they are due.

Source: O'Donoghue & Candes (2015), Found. Comput. Math. 15, 715-732, section 3.2.
"""

import numpy as np
from numpy.typing import NDArray

from meanfield.methods.oracle import Oracle

SCHEMES = ("function", "gradient", "none")


def require_scheme(scheme: str) -> None:
    """Refuse a scheme of restarts that is not known."""
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        msg = f"scheme: {scheme!r} found; allowed: {', '.join(SCHEMES)}"
        raise ValueError(msg)


def is_due(scheme: str, oracle: Oracle, gradient: NDArray, end: NDArray, last_end: NDArray) -> NDArray:
    """Tell whether a restart is due, for each leading entry of the points as `Oracle.inner` returns them.

    Parameters
    ----------
    scheme : str
        ``gradient``: the step leads uphill; ``function``: the loss has risen; ``none``: never.
    oracle : Oracle
        At the sample of the iteration.
    gradient : array
        Where it was taken.
    end, last_end : array
        Where this step and the last one ended.

    """
    if scheme == "gradient":
        return oracle.inner(gradient, end - last_end) > 0
    if scheme == "function":
        return oracle.loss(end) > oracle.loss(last_end)
    return np.zeros_like(oracle.inner(gradient, gradient), dtype=bool)
