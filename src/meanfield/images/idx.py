"""The IDX format of the MNIST files, read strictly; bytes in, arrays out. Nothing is ever unpickled.

A file starts with two zero bytes, a byte for the type of its numbers (8: unsigned bytes, the only one here), a byte for
the number of dimensions, and the sizes as big-endian 32-bit integers; the numbers follow, row by row, and nothing else.
"""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meanfield.errors import DataError

_UNSIGNED_BYTE = 8
_GZIP = b"\x1f\x8b"
# More than this is no collection of pictures; a damaged size would ask for terabytes.
_LARGEST = 1 << 32
# What a compressed file may unpack to [byte]; the largest of the four has 47 million. A few kilobytes can hold zeros
# that fill the memory.
_LARGEST_UNPACKED = 1 << 28


def content(path: str | Path) -> bytes:
    """Return the bytes of a file, decompressed if it is gzip by its first two bytes, whatever its name.

    Raises
    ------
    DataError
        If the file cannot be read, its compression is damaged or cut short, or it unpacks to more than any digits.

    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not raw.startswith(_GZIP):
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            unpacked = stream.read(_LARGEST_UNPACKED + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged or truncated gzip file ({error}); fetch it again") from error
    if len(unpacked) > _LARGEST_UNPACKED:
        raise DataError(f"{path}: unpacks to more than {_LARGEST_UNPACKED} bytes: no file of digits; fetch it again")
    return unpacked


def parse(raw: bytes, dimensions: int, name: str | Path) -> NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file.

    Parameters
    ----------
    raw : bytes
        The whole file, decompressed.
    dimensions : int
        Number of dimensions needed: 3 for images, 1 for labels.
    name : str or path
        What messages call it.

    Returns
    -------
    array of uint8
        Shape as the file says; its own memory.

    Raises
    ------
    DataError
        If the header is none, the type or the number of dimensions is another one, or there are fewer or more bytes
        than the sizes say.

    """
    head = 4 + 4 * dimensions
    if len(raw) < 4:
        raise DataError(f"{name}: {len(raw)} bytes found, an IDX file needs at least {head}")
    if raw[:2] != b"\0\0":
        raise DataError(f"{name}: not an IDX file: it starts with the bytes {raw[:4].hex(' ')}, 00 00 08 needed")
    if raw[2] != _UNSIGNED_BYTE:
        raise DataError(f"{name}: IDX type 0x{raw[2]:02x} found, 0x08 (unsigned bytes) needed")
    if raw[3] != dimensions:
        kind = {1: "labels", 3: "images"}
        raise DataError(
            f"{name}: {raw[3]} dimensions ({kind.get(raw[3], 'neither images nor labels')}) found, "
            f"{dimensions} ({kind.get(dimensions, '')}) needed"
        )
    if len(raw) < head:
        raise DataError(f"{name}: truncated within its header: {len(raw)} bytes found, {head} needed")
    sizes = tuple(int(size) for size in np.frombuffer(raw, ">u4", dimensions, 4))
    needed = 1
    for size in sizes:
        needed *= size  # python's integers do not overflow
    if not 0 < needed <= _LARGEST:
        raise DataError(f"{name}: sizes {' x '.join(map(str, sizes))} found; they must be positive and sane")
    found = len(raw) - head
    if found != needed:
        problem = "truncated" if found < needed else "bytes left over"
        raise DataError(
            f"{name}: {problem}: sizes {' x '.join(map(str, sizes))} need {needed} bytes after the header, "
            f"{found} found"
        )
    return np.frombuffer(raw, np.uint8, needed, head).reshape(sizes).copy()
