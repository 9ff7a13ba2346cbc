"""How messages name what they found; every message is one line."""

import difflib
import math
from collections.abc import Iterator
from typing import Any


def kind(value: Any) -> str:
    """Return what kind of YAML value something is."""
    names = {dict: "mapping", list: "list", str: "text", bool: "boolean", int: "integer", float: "number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def show(value: Any) -> str:
    """Return a value as text of at most 80 characters on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def suggest(name: str, known: list[str]) -> str:
    """Return a hint at the known name that is closest to an unknown one, or nothing."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def is_number(text: str) -> bool:
    """Tell whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def unknown(key: str, name: str, known: list[str]) -> str:
    """Return the line that refuses a name which is not among the known ones."""
    known = sorted(known)
    return f"{key}: {name!r} found{suggest(name, known)}; known: {', '.join(known) or 'none'}"


def nonfinite(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield the keys and values of all numbers that are not finite."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from nonfinite(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from nonfinite(item, f"{key}.{n}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield key, value
