r"""The clock of an optimiser: which step of SGD has the same effect where gradients vary slowly.

With momentum :math:`\mu` the weights move by :math:`s/(1 - \mu)` times the gradient per iteration once the velocity has
settled, so that in the limit of small steps Nesterov SGD at the step :math:`\varepsilon` is SGD at
:math:`\varepsilon/(1 - \mu)`. Under a schedule :math:`\xi(t) = a t^b` the steps agree at every iteration if
:math:`\varepsilon'^{1 + b} = c\,L^b \varepsilon^{1 + b}`, for a factor c and L inner steps per iteration.
"""

from types import ModuleType

from meanfield.limits.schedule import Schedule


def inner_steps(method: ModuleType, hyperparameters) -> int:
    """Return the steps of an iteration that the schedule counts [count]."""
    loop = getattr(method, "inner_loop", None)
    return loop(hyperparameters).steps if loop else 1


def matched_step(method: ModuleType, hyperparameters, step_size: float, schedule: Schedule) -> float | None:
    r"""Return the step :math:`\varepsilon'` at which SGD keeps pace with an optimiser, iteration by iteration.

    Parameters
    ----------
    method : module
        A module of `meanfield.methods`.
    hyperparameters
        An instance of its `Hyperparameters`.
    step_size : float
        epsilon of the optimiser [mean-field time].
    schedule : Schedule
        xi, the same for both.

    Returns
    -------
    float or None
        epsilon' [mean-field time], so that iteration k sits at the mean-field time k epsilon'; None where no step does
        it at all iterations.

    """
    factor = method.clock(hyperparameters, step_size)
    if factor is None:
        return None
    b, steps = schedule.exponent, inner_steps(method, hyperparameters)
    if b == 0:
        return step_size * factor
    if factor != method.clock(hyperparameters, 2 * step_size):  # the factor itself would change along the schedule
        return None
    try:
        return step_size * (factor * steps**b) ** (1 / (1 + b)) or None
    except OverflowError:  # b near -1
        return None
