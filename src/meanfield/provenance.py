"""The identity card of every dataset: what it is, from which numbers, code and inputs.

Wall-clock facts (time, host, duration) stay out, so that the same code, lock, configuration and machine type give
the same bytes; they are in the logs and benchmark files.
"""

import hashlib
import json
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import xarray as xr

# Packages whose version can change a number or a drawing.
PACKAGES = ("numpy", "scipy", "numba", "xarray", "netCDF4", "matplotlib", "snakemake", "typst")

REFERENCES = (
    "Mei, Montanari & Nguyen (2018), doi:10.1073/pnas.1806579115; "
    "Rotskoff & Vanden-Eijnden (2018), arXiv:1805.00915; "
    "Sirignano & Spiliopoulos (2020), doi:10.1137/18M1192184"
)


@lru_cache(maxsize=1)
def revision() -> str:
    """Return the code revision of the package's checkout, ending in -dirty if files differ; unknown outside git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip() or "unknown"


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version(), "meanfield": metadata.version("meanfield")}
    for package in PACKAGES:
        found[package] = metadata.version(package)
    return found


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON text that depends on the value alone."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def stamp(
    dataset: xr.Dataset,
    *,
    title: str,
    summary: str,
    rule: str,
    parameters: dict[str, Any],
    seed: int | None = None,
    inputs: dict[str, str | Path] | None = None,
) -> xr.Dataset:
    """Write the identity card into a dataset's attributes; the last call before it is saved.

    Parameters
    ----------
    dataset : xarray.Dataset
        What will be saved; its attributes are replaced.
    title, summary : str
        One phrase and one paragraph.
    rule : str
        The workflow's rule.
    parameters : dict
        Exactly the numbers that the job used; kept as JSON.
    seed : int, optional
        Root seed, where random numbers were used.
    inputs : dict, optional
        What was read: a name that does not depend on where the results lie, and the file; kept by SHA-256, so
        that datasets name their parents by content.

    Returns
    -------
    xarray.Dataset
        The same dataset.

    """
    found = versions()
    dataset.attrs = {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": title,
        "summary": summary,
        "keywords": "mean-field limit, two-layer neural network, stochastic gradient descent",
        "source": f"meanfield {found['meanfield']} ({revision()}), rule {rule}",
        "references": REFERENCES,
        "license": "CC-BY-4.0 (data), MIT (code)",
        "product_version": found["meanfield"],
        "meanfield_revision": revision(),
        "meanfield_rule": rule,
        "meanfield_parameters": canonical_json(parameters),
        "meanfield_versions": canonical_json(found),
        "meanfield_inputs": canonical_json({name: sha256(path) for name, path in (inputs or {}).items()}),
    }
    if seed is not None:
        dataset.attrs["meanfield_seed"] = str(seed)  # as text: netCDF attributes have no unsigned 64-bit integer
    return dataset
