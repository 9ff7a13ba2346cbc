"""Datasets on disk: labels for arrays, atomic writing, careful reading. The only module that knows netCDF."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr

from meanfield.errors import DataError

# The last line of each of our files: the SHA-256 of all bytes before it. The library leaves alone what follows its own
# bytes; its own checksums cover chunks of numbers only, and some damage elsewhere makes it loop for ever.
_SEAL = b"\nmeanfield SHA-256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename it to `path` when the block ends well.

    Nothing half-written ever stands under the final name: not after an exception, a kill or a full disk. Left-overs
    of killed jobs for the same path are removed.

    Raises
    ------
    DataError
        If the folder cannot be written to, or the disk is full.

    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.glob(f".{path.name}.*.tmp"):
            # A job that outlived its killed workflow may still be writing; only the dead leave things behind.
            writer = other.name.split(".")[-2]
            if not (writer.isdigit() and psutil.pid_exists(int(writer))):
                other.unlink(missing_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # the latter is how netCDF4 reports a failed write
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number in errno.errorcode else str(error)
        if isinstance(error, RuntimeError) or (number == errno.EACCES and _is_full(path.parent)):
            reason += " (is the disk full?)"
        raise DataError(f"{path}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_full(folder: Path) -> bool:
    # Where there is no room for a file at all, netCDF says that permission is denied.
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    # Some file systems have no fixed number of files: they count none.
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def write_dataset(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a stamped dataset as netCDF-4, compressed and sealed by a checksum of the whole file, atomically."""
    if "meanfield_parameters" not in dataset.attrs:
        msg = f"dataset for {path} was not stamped with its provenance"
        raise ValueError(msg)
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        encoding[name] = {"_FillValue": None}
        if variable.dtype.kind in "fiu" and variable.ndim:
            encoding[name].update(zlib=True, complevel=4, shuffle=True, fletcher32=True)
    with atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=encoding)
        append_seal(temporary)


def append_seal(path: Path) -> None:
    """Write the checksum of all bytes of a file at its end."""
    seal = _seal(path.read_bytes())
    with path.open("ab") as stream:
        stream.write(seal)


def unsealed(path: Path) -> bytes:
    """Return the contents of a file without the checksum at their end.

    Raises
    ------
    DataError
        If the file cannot be read, or its bytes are not those of the checksum.

    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    body, seal = contents[:-_SEAL_LENGTH], contents[-_SEAL_LENGTH:]
    if seal == _seal(body):
        return body
    if not contents.startswith((b"\x89HDF", b"PK")):
        found = "not a readable netCDF-4 file"
    elif seal.startswith(_SEAL):
        found = "damaged: its bytes do not match its checksum"
    else:
        found = "cut short, or not a dataset of this project: the checksum at its end is missing"
    raise DataError(f"{path}: {found}; delete it and run again")


def _seal(contents: bytes) -> bytes:
    return _SEAL + hashlib.sha256(contents).hexdigest().encode() + b"\n"


def read_dataset(path: str | Path) -> xr.Dataset:
    """Read a dataset of ours completely into memory.

    Raises
    ------
    DataError
        If the file is missing, is not netCDF, is truncated or damaged in a single bit, or was not written by this
        project.

    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the workflow to make it")
    unsealed(path)  # before the netCDF library sees anything of the file
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as opened:
            dataset = opened.load()
    except Exception as error:  # there is hardly a kind that an odd file does not raise
        raise DataError(
            f"{path}: not a readable netCDF file (truncated or damaged? {_first_line(error)}); delete it and run again"
        ) from error
    if "meanfield_parameters" not in dataset.attrs:
        raise DataError(f"{path}: not a dataset of this project (attribute meanfield_parameters is missing)")
    return dataset


def read_parts(paths: list[str]) -> xr.Dataset:
    """Read the parts of one run and join them along the replicates; the result does not depend on how it was cut.

    Raises
    ------
    DataError
        If a part is unreadable, lacks a variable, or was made with other parameters than the first.

    """
    parts = [read_dataset(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        require(part, path, *map(str, parts[0].data_vars))
        if part.attrs["meanfield_parameters"] != parts[0].attrs["meanfield_parameters"]:
            raise DataError(f"{path}: made with other parameters than {paths[0]}; delete it and run again")
    return xr.concat(parts, dim="replicate", data_vars="minimal", coords="minimal", compat="equals", join="exact")


def require(dataset: xr.Dataset, path: str | Path, *names: str) -> None:
    """Refuse a dataset that lacks one of the named variables."""
    for name in names:
        if name not in dataset.variables:
            raise DataError(f"{path}: variable {name!r} is missing; delete the file and run again")


def parameters(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the parameters that a dataset was made with."""
    return json.loads(dataset.attrs["meanfield_parameters"])


def variable(dims: str, values: Any, long_name: str, units: str = "1") -> tuple:
    """Return a labelled variable for xarray: dimensions separated by spaces, long name and units."""
    return (tuple(dims.split()), np.asarray(values), {"long_name": long_name, "units": units})


def write_text(text: str, path: str | Path) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: str | Path) -> None:
    """Write JSON atomically, with sorted keys; numbers that JSON lacks (nan, infinities) become null."""
    write_text(json.dumps(_plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
