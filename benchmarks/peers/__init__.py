r"""Peers: the same update rule, written in different libraries, a module each.

A module offers `METHODS`, the classes of its variants. Each is a `Runner`: it says what it can run, keeps a network in
its library's own arrays, and advances it by a number of samples, random numbers included. A new peer is a module with
one such class and a line in `MODULES`; the harness compares it with the definition before it is timed.
"""

import importlib

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import POOL, Network, Workload

MODULES = (
    "block_kernel",
    "numpy_definition",
    "numpy_plain",
    "numpy_active_rows",
    "numpy_blocked",
    "torch_autograd",
    "torch_by_hand",
    "torch_compiled",
    "torch_minibatch",
    "jax_scan",
)


class UnavailableError(Exception):
    """A peer that cannot run here: its library or a compiler is missing, or the kernel lacks a feature."""


class Runner:
    """One network in one library, advanced sample by sample.

    Parameters
    ----------
    workload : Workload
        What to run.
    dtype : dtype
        float32 or float64, of all arithmetic.

    Raises
    ------
    UnavailableError
        If that cannot be done here.

    """

    name = ""
    batch = 1  # samples per step; more than one is another algorithm, timed per sample
    granularity = 1  # `run` takes multiples of this many samples
    compiles = False  # whether making one takes seconds

    def __init__(self, workload: Workload, dtype):
        self.workload = workload
        self.dtype = np.dtype(dtype)
        self.done = 0
        self._pools: dict[int, tuple] = {}

    @staticmethod
    def applies(workload: Workload) -> bool:
        """Return whether the method makes sense for a workload."""
        return True

    def draw(self, count: int) -> tuple:
        """Return fresh inputs and targets in the library's own arrays, from its own generator."""
        raise NotImplementedError

    def load(self, inputs: NDArray, targets: NDArray) -> tuple:
        """Return given inputs and targets in the library's own arrays."""
        return inputs.astype(self.dtype), targets.astype(self.dtype)

    def run(self, inputs, targets, step_sizes: NDArray) -> None:
        """Advance the network by one iteration per sample, and wait until that is done."""
        raise NotImplementedError

    def network(self) -> Network:
        """Return the network as numpy arrays."""
        raise NotImplementedError

    def advance(self, count: int) -> None:
        """Advance the network by `count` samples, random numbers included; what is timed."""
        if self.workload.scales is not None:
            self.run(*self.draw(count), self.workload.step_sizes(self.done, count))
            self.done += count
            return
        for first in range(0, count, self.pool):
            size = min(self.pool, count - first)
            self.run(*self._pool(size), self.workload.step_sizes(self.done, size))
            self.done += size

    @property
    def pool(self) -> int:
        """Samples of the pool that a workload without a law of its own uses over and over."""
        return max(POOL // self.granularity, 1) * self.granularity

    def _pool(self, size: int) -> tuple:
        if size not in self._pools:
            self._pools[size] = self.load(*self.workload.samples(size))
        return self._pools[size]


def methods() -> list[type[Runner]]:
    """Return the classes of all peers whose libraries are installed, ours first."""
    found = []
    for module in MODULES:
        try:
            found += importlib.import_module(f"benchmarks.peers.{module}").METHODS
        except UnavailableError:
            continue
    return found


def missing() -> dict[str, str]:
    """Return why each peer that cannot be imported cannot."""
    reasons = {}
    for module in MODULES:
        try:
            importlib.import_module(f"benchmarks.peers.{module}")
        except UnavailableError as reason:
            reasons[module] = str(reason)
    return reasons
