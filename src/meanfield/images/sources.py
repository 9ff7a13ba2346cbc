"""Sources of handwritten digits: the MNIST files in a folder or from a mirror, or the small ones of scikit-learn.

Every choice is told: which source, which files with their checksums, how many images, and why an earlier source of the
order was passed over. No network is touched before `load` is called, and none if the source needs none.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import DataError
from meanfield.images import idx

Bytes = NDArray[np.uint8]

# The order in which `auto` tries them.
SOURCES = ("mnist", "mnist-t10k", "uci")
# Overrides the folders of the configuration.
VARIABLE = "MEANFIELD_DIGITS"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class File(NamedTuple):
    """One file that was read."""

    name: str
    bytes: int  # decompressed
    sha256: str  # of the decompressed content


class Digits(NamedTuple):
    """Images and labels, split into training and test set, and where they come from."""

    source: str  # one of SOURCES
    train_images: Bytes  # shape (image, row, column)
    train_labels: Bytes  # shape (image,), 0 … 9
    test_images: Bytes
    test_labels: Bytes
    white: int  # the largest grey value of the source's scale
    files: tuple[File, ...]
    passed_over: tuple[str, ...]  # a line per earlier source of the order that was not available


class UnavailableError(Exception):
    """A source is not there; the message says what was looked for."""


def folders(configured: Sequence[str]) -> list[Path]:
    """Return the folders that are searched: that of the environment variable alone if it is set."""
    given = os.environ.get(VARIABLE)
    return [Path(given)] if given else [Path(name) for name in configured]


def local_files(parts: Sequence[str], searched: Sequence[Path]) -> list[Path] | None:
    """Return the files of the named parts (``train``, ``test``) in the first folder that holds all of them, or None.

    Each may be compressed (``.gz``) or not.
    """
    wanted = [name for part in parts for name in FILES[part]]
    for folder in searched:
        found = [next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None) for name in wanted]
        if None not in found:
            return found
    return None


def gone(dataset: Path, searched: Sequence[Path], mirrors: Sequence[str]) -> str | None:
    """Return the source of the digits in a dataset if it is not there any more, so that another would replace it.

    Parameters
    ----------
    dataset : path
        A dataset that rule prepare_digits wrote, or where one might be.
    searched : sequence of path
        Folders that may hold the files now.
    mirrors : sequence of str
        Mirrors that may be asked: the four files that came from one come again.

    """
    recorded = _source_of(dataset)
    if recorded not in ("mnist", "mnist-t10k") or local_files(("train", "test"), searched):
        return None
    there = mirrors if recorded == "mnist" else local_files(("test",), searched)
    return None if there else recorded


def _source_of(dataset: Path) -> str | None:
    # Of a file that is damaged nothing is known: it is about to be replaced.
    if not dataset.is_file():
        return None
    import netCDF4

    try:
        with netCDF4.Dataset(dataset) as file:
            return json.loads(file.getncattr("meanfield_data"))["source"]
    except (OSError, AttributeError, ValueError, KeyError, TypeError):
        return None


def load(
    source: str,
    *,
    searched: Sequence[Path] = (),
    mirrors: Sequence[str] = (),
    checksums: dict[str, dict[str, str]] | None = None,
    timeout: float = 5.0,
    test_share: float = 0.2,
    cache: Path | None = None,
    download: bool = True,
) -> Digits:
    """Return the digits of one source, or of the first that is available.

    Parameters
    ----------
    source : str
        ``mnist``: the four MNIST files, in a folder, in the cache or from a mirror. ``mnist-t10k``: only the pair of
        10,000 images, in a folder, split by a fixed permutation. ``uci``: the 1797 images of 8 x 8 pixels that
        scikit-learn ships, split likewise. ``auto``: the first of these that is available.
    searched : sequence of path
        Folders that may hold the files; the first that holds all wins.
    mirrors : sequence of str
        Addresses of folders with the four files, compressed; tried in order.
    checksums : dict, optional
        SHA-256 of each file's content, under ``content``, and of its compressed form, under ``gzip``, by the name
        without ``.gz``. A file with another content is refused; one without a checksum is not checked.
    timeout : float
        Longest wait for an answer of a mirror [s].
    test_share : float
        Share of the images that form the test set where the source has no split of its own [1].
    cache : path, optional
        Where downloads are kept; the user's cache folder if not given.
    download : bool
        Whether the network may be used.

    Raises
    ------
    DataError
        If the source is not available, or a file is damaged: a damaged file never counts as absent.

    """
    checksums = checksums or {}
    makers: dict[str, Callable[[], Digits]] = {
        "mnist": lambda: _mnist(searched, mirrors, checksums, timeout, cache, download),
        "mnist-t10k": lambda: _t10k(searched, checksums, test_share),
        "uci": lambda: _uci(test_share),
    }
    if source not in (*makers, "auto"):
        raise DataError(f"digits: source {source!r} is unknown; known: auto, {', '.join(makers)}")
    order = SOURCES if source == "auto" else (source,)
    passed_over: list[str] = []
    for name in order:
        try:
            return makers[name]()._replace(passed_over=tuple(passed_over))
        except UnavailableError as reason:
            passed_over.append(f"{name}: {reason}")
    raise DataError(f"digits: {'; '.join(passed_over)}")


def describe(digits: Digits) -> str:
    """Return one line on the choice and, if there was a fallback, why."""
    line = (
        f"digits: {digits.source}, {len(digits.train_labels)} training and {len(digits.test_labels)} test images of "
        f"{digits.train_images.shape[1]} x {digits.train_images.shape[2]} pixels"
    )
    if digits.passed_over:
        line += f" (not available: {'; '.join(digits.passed_over)})"
    return line


def fixed_permutation(count: int) -> NDArray[np.int64]:
    """Return a permutation of 0 … count - 1, the same for ever: images in the order of a hash of their number."""
    keys = [hashlib.sha256(f"digit {number}".encode()).digest() for number in range(count)]
    return np.array(sorted(range(count), key=keys.__getitem__), dtype=np.int64)


# -- the sources -----------------------------------------------------------------------------------------------------


def _mnist(searched, mirrors, checksums, timeout, cache, download) -> Digits:
    paths = local_files(("train", "test"), searched)
    if paths is None:
        where = ", ".join(map(str, searched)) or "no folder"
        if not (download and mirrors):
            raise UnavailableError(f"the four files are not in {where}")
        paths = [_fetched(name, mirrors, checksums, timeout, cache, where) for pair in FILES.values() for name in pair]
    images, labels, files = _read_pair(paths[0], paths[1], checksums)
    test_images, test_labels, test_files = _read_pair(paths[2], paths[3], checksums)
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{paths[2]}: images of {test_images.shape[1:]} pixels found, the training images have {images.shape[1:]}"
        )
    return Digits("mnist", images, labels, test_images, test_labels, 255, (*files, *test_files), ())


def _t10k(searched, checksums, test_share) -> Digits:
    paths = local_files(("test",), searched)
    if paths is None:
        raise UnavailableError(f"the pair t10k-* is not in {', '.join(map(str, searched)) or 'any folder'}")
    images, labels, files = _read_pair(*paths, checksums)
    return _split("mnist-t10k", images, labels, 255, files, test_share)


def _uci(test_share) -> Digits:
    try:
        from sklearn.datasets import load_digits  # takes a second: only where it is needed
    except ImportError as error:
        raise UnavailableError("scikit-learn is not installed") from error
    bunch = load_digits()
    images = np.ascontiguousarray(bunch.images.astype(np.uint8))
    labels = np.ascontiguousarray(bunch.target.astype(np.uint8))
    packed = images.tobytes() + labels.tobytes()
    file = File("scikit-learn digits", len(packed), hashlib.sha256(packed).hexdigest())
    return _split("uci", images, labels, 16, (file,), test_share)


def _split(source, images, labels, white, files, test_share) -> Digits:
    order = fixed_permutation(len(labels))
    cut = len(labels) - round(test_share * len(labels))
    if not 0 < cut < len(labels):
        raise DataError(f"digits: a test share of {test_share} leaves no training or no test images of {len(labels)}")
    train, test = order[:cut], order[cut:]
    return Digits(source, images[train], labels[train], images[test], labels[test], white, tuple(files), ())


def _read_pair(image_path: Path, label_path: Path, checksums) -> tuple[Bytes, Bytes, tuple[File, ...]]:
    arrays, files = [], []
    for path, dimensions in ((image_path, 3), (label_path, 1)):
        raw = idx.content(path)
        digest = hashlib.sha256(raw).hexdigest()
        # What the format says is wrong is told first; it says more than a checksum.
        arrays.append(idx.parse(raw, dimensions, path))
        name = path.name.removesuffix(".gz")
        known = checksums.get(name, {}).get("content")
        if known and digest != known:
            raise DataError(
                f"{path}: checksum {digest[:12]}… found, {known[:12]}… needed: damaged, or not the published file "
                f"(data.digits.checksums.{name} holds the expected one)"
            )
        files.append(File(name, len(raw), digest))
    images, labels = arrays
    if len(images) != len(labels):
        raise DataError(f"{label_path}: {len(labels)} labels found for the {len(images)} images of {image_path.name}")
    if labels.max() > 9:
        raise DataError(f"{label_path}: label {labels.max()} found; labels are 0 to 9")
    return images, labels, tuple(files)


def _fetched(name: str, mirrors, checksums, timeout, cache, where) -> Path:
    # One file from the cache or from the first mirror that answers with the right content.
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    known = checksums.get(name, {}).get("gzip")
    folder = Path(cache) if cache is not None else Path(pooch.os_cache("meanfield-figures")) / "mnist"
    reasons = []
    for mirror in mirrors:
        address = f"{mirror.rstrip('/')}/{name}.gz"
        try:
            return Path(
                pooch.retrieve(
                    address,
                    known_hash=f"sha256:{known}" if known else None,
                    fname=f"{name}.gz",
                    path=folder,
                    downloader=pooch.HTTPDownloader(timeout=timeout),
                )
            )
        except Exception as error:  # the network fails in many ways; each is told, and the next mirror is tried
            reasons.append(f"{mirror}: {_short(error)}")
    raise UnavailableError(f"the four files are not in {where}, and no mirror gave {name}.gz ({'; '.join(reasons)})")


def _short(error: Exception) -> str:
    if "hash of" in str(error).lower() or "hash" in type(error).__name__.lower():
        return "wrong checksum"
    text = " ".join(str(error).split())
    for sign, words in (
        ("timed out", "timed out"),
        ("Name or service not known", "no such host"),
        ("name resolution", "no such host"),
        ("Failed to resolve", "no such host"),
        ("Connection refused", "connection refused"),
        ("unreachable", "unreachable"),
    ):
        if sign.lower() in text.lower():
            return words
    return text[:80] or type(error).__name__
