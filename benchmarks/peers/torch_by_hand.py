"""PyTorch with the gradient written by hand, no autograd, updates in place, eager."""

from benchmarks.peers._torch import TorchRunner, step, torch


class TorchByHand(TorchRunner):
    """Hand-written update, eager."""

    name = "PyTorch by hand, eager"

    @torch.no_grad()
    def run(self, inputs, targets, step_sizes):
        for x, y, s in zip(inputs, targets.tolist(), (2 * step_sizes).tolist(), strict=True):
            step(self.activation, self.w, self.b, self.a, x, y, s)


METHODS = [TorchByHand]
