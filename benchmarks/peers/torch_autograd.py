"""PyTorch as its tutorials have it: the loss, `backward`, and `optim.SGD`, eager, a sample at a time."""

from benchmarks.peers._torch import TorchRunner, torch


class TorchAutograd(TorchRunner):
    """Automatic differentiation and the library's optimiser."""

    name = "PyTorch autograd, eager"

    def __init__(self, workload, dtype):
        super().__init__(workload, dtype)
        self._parameters = [p.requires_grad_() for p in (self.w, self.b, self.a) if p is not None]
        self._optimiser = torch.optim.SGD(self._parameters, lr=1.0)

    def predict(self, x):
        """Return the predictions for inputs of shape (…, coordinate)."""
        z = x @ self.w.T
        if self.b is not None:
            z = z + self.b
        value = self._value(z)
        return value.mean(-1) if self.a is None else value @ self.a / len(self.w)

    def _value(self, z):
        return self.activation(z)[0]

    def run(self, inputs, targets, step_sizes):
        # The gradient of the squared error has a factor 1/N that the step of the mean-field scaling absorbs.
        rates = (len(self.w) * step_sizes[:: self.batch]).tolist()
        group = self._optimiser.param_groups[0]
        batches = zip(inputs.split(self.batch), targets.split(self.batch), rates, strict=True)
        for x, y, rate in batches:
            group["lr"] = rate
            self._optimiser.zero_grad()
            torch.square(y - self.predict(x)).mean().backward()
            self._optimiser.step()


METHODS = [TorchAutograd]
