"""What jobs have in common, for the process that they are forked from (see `meanfield.forks`): its import loads all."""

import gc
import importlib
import os
import pkgutil
import sys
from pathlib import Path

import meanfield
from meanfield import caches

# Set for the server alone: the precisions and groups of kernels that it loads.
VARIABLE = "MEANFIELD_PRELOAD"


def load(names: list[str]) -> None:
    """Import all modules of the package with what they import, and load compiled kernels.

    Parameters
    ----------
    names : list of str
        Precisions and groups of kernels, see `meanfield.warm_up`; without any no kernels are loaded.

    """
    for module in pkgutil.walk_packages(meanfield.__path__, f"{meanfield.__name__}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    # Each fork runs the file that started Snakemake again, under another name than __main__; it imports this.
    importlib.import_module("snakemake.cli")
    if names and caches.compiling():
        importlib.import_module("meanfield.warm_up").compile_named(names)
    # The forks share these pages as long as nobody writes to them; the collector does.
    gc.collect()
    gc.freeze()
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit(1)  # a fork has none of the threads, but their locks; jobs start as usual then


if VARIABLE in os.environ:
    load(os.environ.pop(VARIABLE).split())
