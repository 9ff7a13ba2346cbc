"""What the numbers depend on: processor, caches, versions. Neither host nor user."""

import os
import platform
from importlib import metadata
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from benchmarks import roofline

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "torch", "jax", "jaxlib", "meanfield")


def facts() -> dict:
    """Return what a reader needs to judge the times."""
    flags = llvm.get_host_cpu_features()
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "llvm_processor": llvm.get_host_cpu_name(),
        "vector_features": sorted(
            name for name, on in flags.items() if on and name.startswith(("avx", "fma", "sse4", "neon", "sve"))
        ),
        "cores": os.cpu_count(),
        "cache_bytes": roofline.cache_sizes(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": versions(),
        "numpy_library": _library(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part, as far as they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _library() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas.get('name')} {blas.get('version')}"


def measured(seconds: float = 0.05) -> dict:
    """Return the measured limits of one core."""
    types = (np.float32, np.float64)
    return {
        "multiply_add_flop_per_s": {np.dtype(t).name: roofline.multiply_add_peak(t, seconds) for t in types},
        "matrix_product_flop_per_s": {np.dtype(t).name: roofline.matrix_product_rate(t) for t in types},
        "read_bytes_per_s": roofline.bandwidths(seconds),
    }
