"""Build a problem and its initial law from their blocks of the configuration."""

from meanfield.problems.activations import make_activation
from meanfield.problems.anisotropic import AnisotropicGaussians, TwoLayerLaw
from meanfield.problems.isotropic import IsotropicGaussians, RadialLaw


def make_problem(settings: dict, activation: dict) -> IsotropicGaussians | AnisotropicGaussians:
    """Return the problem of a configuration block and of the activation block that it names."""
    shape = make_activation(activation)
    if settings["kind"] == "isotropic_gaussians":
        return IsotropicGaussians(settings["dimension"], settings["separation"], shape)
    return AnisotropicGaussians(settings["dimension"], settings["informative"], settings["separation"], shape)


def make_law(kind: str, settings: dict) -> RadialLaw | TwoLayerLaw:
    """Return the law of the initial weights for a kind of problem."""
    return RadialLaw(**settings) if kind == "isotropic_gaussians" else TwoLayerLaw(**settings)
