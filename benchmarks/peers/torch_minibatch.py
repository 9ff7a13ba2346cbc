"""PyTorch with minibatches of 100, timed per sample: another algorithm, with a hundredth of the updates."""

from benchmarks.peers._torch import TorchRunner, torch
from benchmarks.peers.torch_autograd import TorchAutograd

_BATCH = 100


class TorchMinibatch(TorchAutograd):
    """Automatic differentiation of the mean loss of a batch."""

    name = f"PyTorch autograd, batches of {_BATCH}"
    batch = granularity = _BATCH

    @staticmethod
    def applies(workload):
        return workload.name.startswith("C")


class TorchMinibatchByHand(TorchRunner):
    """Hand-written gradient of the mean loss of a batch: two matrix products."""

    name = f"PyTorch by hand, batches of {_BATCH}"
    batch = granularity = _BATCH

    @staticmethod
    def applies(workload):
        return workload.name.startswith("C")

    @torch.no_grad()
    def run(self, inputs, targets, step_sizes):
        w, a = self.w, self.a
        scaled = self.twice(step_sizes)[:: self.batch] / self.batch
        for x, y, s in zip(inputs.split(self.batch), targets.split(self.batch), scaled.tolist(), strict=True):
            value, slope = self.activation(x @ w.T)
            e = s * (y - value @ a / len(w))
            slope *= a
            slope *= e[:, None]
            w.addmm_(slope.T, x)
            a.addmv_(value.T, e)


METHODS = [TorchMinibatch, TorchMinibatchByHand]
