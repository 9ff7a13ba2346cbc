"""What a dataset of ours is, and how two of them differ: for a reader at a terminal."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import yaml

from meanfield import io

_WIDTH = 12
# Who made a dataset; differences in it are told and do not count.
_PROVENANCE = ("meanfield_revision", "meanfield_versions", "meanfield_inputs")


def identity_card(path: str | Path) -> str:
    """Return title, summary, origin, parents, axes, variables and parameters of a dataset as text.

    Raises
    ------
    DataError
        If the file is missing, damaged or not ours.

    """
    dataset = io.read_dataset(path)
    attributes = dataset.attrs
    versions = json.loads(attributes["meanfield_versions"])
    parents = json.loads(attributes["meanfield_inputs"])
    lines = [
        str(path),
        _row("title", attributes["title"]),
        _row("what", attributes["summary"]),
        _row("made by", f"rule {attributes['meanfield_rule']}, revision {attributes['meanfield_revision']}"),
        _row("with", ", ".join(f"{name} {version}" for name, version in versions.items())),
        _row("seed", attributes.get("meanfield_seed", "none: no random number was drawn")),
        *_table("parents", [(name, f"SHA-256 {digest[:16]}…") for name, digest in parents.items()]),
        _row("axes", ", ".join(f"{name} {size}" for name, size in dataset.sizes.items()) or "none"),
        *_table("variables", [_described(dataset, name) for name in sorted(dataset.variables)]),
        "parameters",
        *(f"  {line}" for line in yaml.safe_dump(io.parameters(dataset), allow_unicode=True, width=100).splitlines()),
    ]
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _table(name: str, rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return [_row(name, "none")]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [_row(name if n == 0 else "", line) for n, line in enumerate(lines)]


def _described(dataset: xr.Dataset, name: str) -> tuple[str, ...]:
    variable = dataset.variables[name]
    shape = f"({', '.join(variable.dims)})" if variable.dims else ""
    values = variable.values
    extent = ""
    if values.dtype.kind in "fiu" and np.isfinite(values).any():
        finite = values[np.isfinite(values)]
        extent = f"{finite.min():.6g}" + (f" to {finite.max():.6g}" if finite.min() != finite.max() else "")
    units = variable.attrs.get("units", "")
    return name, shape, extent, variable.attrs.get("long_name", "") + (f" [{units}]" if units not in ("", "1") else "")


class Comparison(NamedTuple):
    """What differs between two datasets."""

    differences: list[str]  # in parameters, seed, axes and values
    provenance: list[str]  # in who made them, which does not count


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Return the parameters that differ, and for each variable that does, the norms of the difference.

    Raises
    ------
    DataError
        If a file is missing, damaged or not ours.

    """
    datasets = [io.read_dataset(path) for path in (first, second)]
    one, other = datasets
    flat = [dict(_flat(io.parameters(dataset))) for dataset in datasets]
    lines = [f"parameter {line}" for line in _entries(*flat)]
    lines += [f"seed: {a} / {b}" for a, b in [[d.attrs.get("meanfield_seed", "none") for d in datasets]] if a != b]
    lines += [f"axis {line}" for line in _entries(*(dict(dataset.sizes) for dataset in datasets))]
    names = [set(map(str, dataset.variables)) for dataset in datasets]
    lines += [f"variable {name}: only in the first" for name in sorted(names[0] - names[1])]
    lines += [f"variable {name}: only in the second" for name in sorted(names[1] - names[0])]
    for name in sorted(names[0] & names[1]):
        lines += [f"variable {name}: {text}" for text in _difference(one.variables[name], other.variables[name])]
    told = []
    for key in _PROVENANCE:
        texts = [dataset.attrs.get(key, "") for dataset in datasets]
        if texts[0] != texts[1]:
            parsed = [json.loads(text) if text.startswith("{") else {"": text} for text in texts]
            told += [f"{key.removeprefix('meanfield_')} {line}".replace(" : ", ": ") for line in _entries(*parsed)]
    return Comparison(lines, told)


def _flat(value: Any, key: str = ""):
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from _flat(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _entries(one: dict, other: dict) -> list[str]:
    lines = []
    for name in sorted({*one, *other}, key=str):
        if name not in other:
            lines.append(f"{name}: {_short(one[name])} / absent")
        elif name not in one:
            lines.append(f"{name}: absent / {_short(other[name])}")
        elif one[name] != other[name]:
            lines.append(f"{name}: {_short(one[name])} / {_short(other[name])}")
    return lines


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _difference(one: xr.Variable, other: xr.Variable) -> list[str]:
    # Undefined entries at the same places are equal, and so are infinite ones of the same sign.
    if one.dims != other.dims or one.shape != other.shape:
        return [f"shapes {one.shape} of {one.dims} / {other.shape} of {other.dims}"]
    a, b = one.values, other.values
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        count = int((a.astype(str) != b.astype(str)).sum())
        return [f"{count} of {a.size} entries differ"] if count else []
    a, b = a.astype(float), b.astype(float)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return []
    comparable = np.isfinite(a) & np.isfinite(b)
    gap = np.where(comparable, a - np.where(comparable, b, 0.0), 0.0)[comparable]
    parts = [f"{int((~same).sum())} of {a.size} entries differ"]
    if gap.size:
        scale = np.sqrt((b[comparable] ** 2).mean())
        root = np.sqrt((gap**2).mean())
        relative = f", {root / scale:.3g} of that of the second" if scale > 0 else ""
        parts.append(f"largest {np.abs(gap).max():.3g}, root mean square {root:.3g}{relative}")
    undefined = int((~comparable & ~same).sum())
    if undefined:
        parts.append(f"{undefined} defined in one only")
    return ["; ".join(parts)]
