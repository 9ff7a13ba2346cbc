"""The hand-written PyTorch update under `torch.compile`: a step a call, and a block of steps unrolled into one call."""

import shutil

from benchmarks.peers import UnavailableError
from benchmarks.peers._torch import TorchRunner, step, torch

_UNROLLED = 32


class TorchCompiledStep(TorchRunner):
    """One compiled step per call."""

    name = "PyTorch compiled, a step a call"
    compiles = True

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        if not (shutil.which("g++") or shutil.which("clang++")):
            raise UnavailableError("torch.compile needs a C++ compiler")

        def steps(w, b, a, x, y, s):
            for k in range(self.granularity):
                step(self.activation, w, b, a, x[k], y[k], s[k])

        self._steps = torch.compile(steps, fullgraph=True, dynamic=False)

    @staticmethod
    def applies(workload):
        return workload.name in ("A", "B")

    @torch.no_grad()
    def run(self, inputs, targets, step_sizes):
        g = self.granularity
        for x, y, s in zip(inputs.split(g), targets.split(g), self.twice(step_sizes).split(g), strict=True):
            self._steps(self.w, self.b, self.a, x, y, s)


class TorchCompiledBlock(TorchCompiledStep):
    """A block of steps, unrolled by the compiler, per call."""

    name = f"PyTorch compiled, {_UNROLLED} steps a call"
    granularity = _UNROLLED

    @staticmethod
    def applies(workload):
        return workload.name == "A"


METHODS = [TorchCompiledStep, TorchCompiledBlock]
