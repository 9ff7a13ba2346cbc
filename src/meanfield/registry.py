"""Names of the configuration and the modules behind them.

One line per entry. The modules are imported by name, when they are used, so that the code digest of a job covers
the entries that the job uses and no others: a new optimiser reruns nothing that exists.
"""

import importlib
from collections.abc import Callable
from types import ModuleType

# Each module offers `TITLE`, `Hyperparameters` (a dataclass), `start`, `step`, `evaluations` and `clock`, and, where a
# compiled kernel can run it, `recurrence` or `inner_loop`; see meanfield.methods.sgd and meanfield.methods.runs.
METHODS = {
    "sgd": "meanfield.methods.sgd",
    "heavy_ball": "meanfield.methods.heavy_ball",
    "nesterov": "meanfield.methods.nesterov",
    "nesterov_restart": "meanfield.methods.nesterov_restart",
    "mass": "meanfield.methods.mass",
    "langevin": "meanfield.methods.langevin",
    "entropy_sgd": "meanfield.methods.entropy_sgd",
    "mf_homsgld": "meanfield.methods.mf_homsgld",
}

# On the plane also those that need no compiled run on networks, or couple the agents of an ensemble.
PLANE_METHODS = {
    **METHODS,
    "nesterov_rational": "meanfield.methods.nesterov_rational",
    "affine_langevin": "meanfield.methods.affine_langevin",
}

# Each entry is a function of (potentials or problem, law, times, *, schedule, …the numbers of its configuration block).
SOLVERS = {
    "characteristics": "meanfield.limits.characteristics:solve_characteristics",
    "finite_volume": "meanfield.limits.finite_volume:solve_finite_volume",
    "reduced_characteristics": "meanfield.limits.anisotropic:solve_reduced",
}

# Families of experiments by the kind of their problem; see meanfield.families.networks for what each module offers.
FAMILIES = {
    "isotropic_gaussians": "meanfield.families.networks",
    "spherical_3spin": "meanfield.families.spin3",
    "muller_brown": "meanfield.families.plane",
    "narrow_well": "meanfield.families.plane",
    "plane_terms": "meanfield.families.plane",
    "sampling_flows": "meanfield.families.sampling",
    "fast_slow": "meanfield.families.multiscale",
    "isotropic_fluctuations": "meanfield.families.fluctuations",
    "isotropic_noisy": "meanfield.families.noisy",
    "anisotropic_gaussians": "meanfield.families.networks",
    "digits": "meanfield.families.digits",
    "isotropic_statics": "meanfield.families.statics",
    "stationary_laws": "meanfield.families.statics",
    "radial_flow": "meanfield.families.statics",
}


def load(table: dict[str, str], name: str) -> ModuleType | Callable:
    """Import the module, or the function, behind one entry of a table."""
    module, _, function = table[name].partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, function) if function else loaded


def module_name(table: dict[str, str], name: str) -> str:
    """Return the name of the module behind one entry of a table."""
    return table[name].partition(":")[0]


def family(experiment: dict) -> ModuleType:
    """Import the module of the family that an experiment of the configuration belongs to."""
    return load(FAMILIES, experiment["problem"]["kind"])
