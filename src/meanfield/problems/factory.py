"""Build a problem from its block of the configuration."""

from meanfield.problems.activations import make_activation
from meanfield.problems.isotropic import IsotropicGaussians


def make_problem(settings: dict, activation: dict) -> IsotropicGaussians:
    """Return the problem of a configuration block and of the activation block that it names."""
    return IsotropicGaussians(settings["dimension"], settings["separation"], make_activation(activation))
