"""The IDX format and the sources of the digits: every way in which a file can be wrong, and every fallback."""

import gzip
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from meanfield.errors import DataError
from meanfield.images import idx, sources

ROOT = Path(__file__).resolve().parents[2]
IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 5], dtype=np.uint8)


def packed(array, kind=8, head=None):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (head or bytes([0, 0, kind, array.ndim])) + sizes + array.tobytes()


def folder(tmp_path, *parts, compress=True, images=IMAGES, labels=LABELS):
    """Write the files of some parts and return their folder."""
    for part in parts:
        for name, array in zip(sources.FILES[part], (images, labels), strict=True):
            raw = packed(array)
            path = tmp_path / (f"{name}.gz" if compress else name)
            path.write_bytes(gzip.compress(raw) if compress else raw)
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """No test of this file may reach beyond this machine, nor see the user's folder of digits."""

    def refuse(*arguments, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv(sources.VARIABLE, raising=False)


# -- the format ------------------------------------------------------------------------------------------------------


def test_a_file_written_by_hand_is_read_back():
    # Two images of 1 x 2 pixels, byte by byte.
    raw = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8, 9, 255])
    found = idx.parse(raw, 3, "x")
    assert found.tolist() == [[[7, 8]], [[9, 255]]]
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "0 bytes found, an IDX file needs at least 16"),
        (b"\x1f\x8b\x08\x00", "not an IDX file: it starts with the bytes 1f 8b 08 00"),
        (b"<htm", "not an IDX file"),
        (packed(IMAGES, kind=13), "IDX type 0x0d found, 0x08"),
        (packed(LABELS), r"1 dimensions \(labels\) found, 3 \(images\) needed"),
        (packed(IMAGES)[:9], "truncated within its header: 9 bytes found, 16 needed"),
        (packed(IMAGES)[:-1], "truncated: sizes 5 x 4 x 3 need 60 bytes after the header, 59 found"),
        (packed(IMAGES) + b"\0", "bytes left over: sizes 5 x 4 x 3 need 60 bytes after the header, 61 found"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 4, 3), "sizes 0 x 4 x 3 found"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3), "must be positive and sane"),
    ],
)
def test_what_is_no_idx_file_is_refused_in_one_line(raw, words):
    with pytest.raises(DataError, match=rf"^digits\.gz: .*{words}") as caught:
        idx.parse(raw, 3, "digits.gz")
    assert "\n" not in str(caught.value)


def test_compression_is_known_by_content_and_its_damage_told(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"abc" * 1000))
    assert idx.content(path) == b"abc" * 1000
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:20], whole[:-6] + b"\0\0" + whole[-4:], whole[:12] + b"\xff" * 5 + whole[17:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="file: damaged or truncated gzip file"):
            idx.content(path)
    with pytest.raises(DataError, match="none: cannot be read: No such file"):
        idx.content(tmp_path / "none")


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(bytes(2000)))
    monkeypatch.setattr(idx, "_LARGEST_UNPACKED", 1999)
    with pytest.raises(DataError, match="file: unpacks to more than 1999 bytes: no file of digits"):
        idx.content(path)
    monkeypatch.setattr(idx, "_LARGEST_UNPACKED", 2000)
    assert idx.content(path) == bytes(2000)


def test_nothing_is_unpickled(tmp_path):
    import pickle

    (name, labels) = sources.FILES["test"]
    (tmp_path / name).write_bytes(pickle.dumps(IMAGES))
    (tmp_path / labels).write_bytes(packed(LABELS))
    with pytest.raises(DataError, match="not an IDX file"):
        sources.load("mnist-t10k", searched=[tmp_path])
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/meanfield/images").glob("*.py"))
    assert "pickle" not in code.replace("unpickled", "")
    assert "allow_pickle" not in code


# -- the sources -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_four_files_are_mnist(tmp_path, compress):
    found = sources.load("auto", searched=[tmp_path / "none", folder(tmp_path, "train", "test", compress=compress)])
    assert found.source == "mnist"
    assert (found.train_images == IMAGES).all()
    assert (found.test_labels == LABELS).all()
    assert found.passed_over == ()
    assert [file.name for file in found.files] == [name for pair in sources.FILES.values() for name in pair]
    assert found.files[0].sha256 == hashlib.sha256(packed(IMAGES)).hexdigest()
    assert found.files[0].bytes == 16 + 60


def test_the_pair_alone_is_split_by_a_fixed_permutation(tmp_path):
    images = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    labels = (np.arange(100) % 10).astype(np.uint8)
    place = folder(tmp_path, "test", images=images, labels=labels)
    found = sources.load("auto", searched=[place], download=False)
    assert found.source == "mnist-t10k"
    assert (len(found.train_labels), len(found.test_labels)) == (80, 20)
    numbers = np.concatenate([found.train_images[:, 0, 0], found.test_images[:, 0, 0]])
    assert sorted(numbers) == [*range(100)]
    assert (np.concatenate([found.train_labels, found.test_labels]) == numbers % 10).all()
    # Sorted by the SHA-256 of "digit 0", "digit 1", …: computed here anew.
    keys = [hashlib.sha256(b"digit %d" % n).hexdigest() for n in range(100)]
    assert numbers.tolist() == sorted(range(100), key=lambda n: keys[n])
    assert "mnist: the four files are not in" in found.passed_over[0]
    line = sources.describe(found)
    assert line.startswith("digits: mnist-t10k, 80 training and 20 test images of 2 x 2 pixels (not available: mnist:")
    assert "\n" not in line


def test_without_files_and_network_the_small_digits_remain(tmp_path):
    found = sources.load(
        "auto", searched=[tmp_path], mirrors=["https://one.invalid/mnist", "https://two.invalid"], timeout=0.5,
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert found.source == "uci"
    assert found.train_images.shape == (1438, 8, 8)
    assert found.test_images.shape == (359, 8, 8)
    assert found.white == 16 == found.train_images.max()
    assert len(found.passed_over) == 2
    assert "https://one.invalid/mnist: unreachable" in found.passed_over[0]
    assert "https://two.invalid: unreachable" in found.passed_over[0]
    # Classes of the data set as its documentation lists them.
    counts = np.bincount(np.concatenate([found.train_labels, found.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("source", ["mnist", "mnist-t10k"])
def test_a_source_by_name_that_is_not_there_is_an_error(tmp_path, source):
    with pytest.raises(DataError, match=rf"^digits: {source}: .* not in {tmp_path}") as caught:
        sources.load(source, searched=[tmp_path])
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="source 'cifar' is unknown; known: auto, mnist"):
        sources.load("cifar")


def test_a_damaged_file_is_an_error_and_no_reason_to_fall_back(tmp_path):
    place = folder(tmp_path, "test")
    path = place / f"{sources.FILES['test'][0]}.gz"
    path.write_bytes(gzip.compress(packed(IMAGES)[:-3]))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: truncated"):
        sources.load("auto", searched=[place], download=False)


def test_a_wrong_checksum_names_the_file_and_both_values(tmp_path):
    place = folder(tmp_path, "test", compress=False)
    known = {sources.FILES["test"][1]: {"content": "ab" * 32}}
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: checksum [0-9a-f]{12}… found, abababababab… needed"):
        sources.load("mnist-t10k", searched=[place], checksums=known)
    known = {sources.FILES["test"][1]: {"content": hashlib.sha256(packed(LABELS)).hexdigest()}}
    assert sources.load("mnist-t10k", searched=[place], checksums=known).source == "mnist-t10k"


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES, LABELS[:4], "4 labels found for the 5 images"),
        (IMAGES, LABELS + 6, "label 11 found; labels are 0 to 9"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, images, labels, words):
    place = folder(tmp_path, "test", images=images, labels=labels)
    with pytest.raises(DataError, match=words):
        sources.load("mnist-t10k", searched=[place])


def test_images_of_two_sizes_are_refused(tmp_path):
    place = folder(tmp_path, "train")
    folder(place, "test", images=IMAGES[:, :, :2])
    with pytest.raises(DataError, match=r"images of \(4, 2\) pixels found, the training images have \(4, 3\)"):
        sources.load("mnist", searched=[place])


def test_a_split_needs_images_on_both_sides(tmp_path):
    with pytest.raises(DataError, match=r"a test share of 0\.01 leaves no training or no test images of 5"):
        sources.load("mnist-t10k", searched=[folder(tmp_path, "test")], test_share=0.01)


# -- the mirrors, played by files of this machine --------------------------------------------------------------------


class Mirrors:
    """Stands for the network: what each address gives, and what was asked."""

    def __init__(self, content):
        self.content, self.asked = content, []

    def downloader(self, timeout):
        def fetch(address, target, _pooch, check_only=False):
            self.asked.append((address, timeout))
            if address not in self.content:
                raise ValueError(f"404 Client Error: Not Found for url: {address}")
            Path(target).write_bytes(self.content[address])

        return fetch


@pytest.fixture
def mirrors(monkeypatch):
    import pooch

    files = {
        name: gzip.compress(packed(array), mtime=0)
        for pair in sources.FILES.values()
        for name, array in zip(pair, (IMAGES, LABELS), strict=True)
    }
    played = Mirrors({f"https://good/{name}.gz": raw for name, raw in files.items()})
    played.checksums = {name: {"gzip": hashlib.sha256(raw).hexdigest()} for name, raw in files.items()}
    monkeypatch.setattr(pooch, "HTTPDownloader", played.downloader)
    return played


def test_the_next_mirror_is_asked_and_the_cache_is_kept(mirrors, tmp_path):
    settings = {"mirrors": ["https://gone/", "https://good"], "checksums": mirrors.checksums, "cache": tmp_path}
    found = sources.load("auto", timeout=2.5, **settings)
    assert found.source == "mnist"
    assert (found.test_images == IMAGES).all()
    assert ("https://gone/train-images-idx3-ubyte.gz", 2.5) in mirrors.asked
    mirrors.content.clear()  # the network is gone; the cache is not
    assert sources.load("mnist", **settings).source == "mnist"


def test_a_mirror_with_other_content_is_passed_over(mirrors, tmp_path):
    name = sources.FILES["train"][0]
    mirrors.content[f"https://bad/{name}.gz"] = b"<html>sign in</html>"
    settings = {"checksums": mirrors.checksums, "cache": tmp_path}
    found = sources.load("auto", mirrors=["https://bad", "https://good"], **settings)
    assert found.source == "mnist"
    mirrors.content[f"https://good/{name}.gz"] = b"damaged too"
    with pytest.raises(DataError, match=r"no mirror gave train-images-idx3-ubyte\.gz .*https://bad: wrong checksum"):
        sources.load(
            "mnist", mirrors=["https://bad", "https://good"], checksums=mirrors.checksums, cache=tmp_path / "2"
        )


def test_the_variable_overrides_the_folders(monkeypatch):
    assert sources.folders(["a", "b"]) == [Path("a"), Path("b")]
    monkeypatch.setenv(sources.VARIABLE, "elsewhere")
    assert sources.folders(["a", "b"]) == [Path("elsewhere")]


def test_importing_touches_no_network():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network at import')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import sys, meanfield.images.sources, meanfield.families.digits\n"
        "sys.exit('heavy import' if {'pooch', 'sklearn', 'requests'} & set(sys.modules) else 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


# -- the real files, where they are ------------------------------------------------------------------------------------


def test_the_real_pair_is_the_published_one(configuration, pair_folder):
    settings = configuration["data"]["digits"]
    found = sources.load(
        "mnist-t10k", searched=[pair_folder], checksums=settings["checksums"], test_share=settings["test_share"]
    )
    assert found.train_images.shape == (8000, 28, 28)
    assert found.test_images.shape == (2000, 28, 28)
    # The first label of t10k is a 7, and its classes are counted on the data set's page.
    labels = np.concatenate([found.train_labels, found.test_labels])
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    order = np.argsort(sources.fixed_permutation(10_000))
    assert labels[order][:5].tolist() == [7, 2, 1, 0, 4]
    # Mean grey value of the 10,000 test images, 33.79 on the scale of 255 (0.1325).
    mean = np.concatenate([found.train_images, found.test_images]).mean()
    assert mean / 255 == pytest.approx(0.1325, abs=5e-5)


# -- a source that was there -----------------------------------------------------------------------------------------


def made_from(path, source):
    with netCDF4.Dataset(path, "w") as file:
        file.meanfield_data = json.dumps({"source": source})
    return path


def test_a_source_whose_files_are_gone_is_told(tmp_path):
    dataset, empty = made_from(tmp_path / "digits.nc", "mnist-t10k"), tmp_path / "empty"
    empty.mkdir()
    # A mirror has four other files.
    assert sources.gone(dataset, [empty], ["https://mirror.invalid"]) == "mnist-t10k"
    assert sources.gone(dataset, [folder(empty, "test")], []) is None


def test_the_four_files_in_place_of_the_pair_are_an_intended_change(tmp_path):
    dataset = made_from(tmp_path / "digits.nc", "mnist-t10k")
    assert sources.gone(dataset, [folder(tmp_path, "train", "test")], []) is None


def test_the_four_files_are_not_replaced_by_the_pair_unless_a_mirror_may_have_them(tmp_path):
    dataset = made_from(tmp_path / "digits.nc", "mnist")
    pair = folder(tmp_path, "test")
    assert sources.gone(dataset, [pair], []) == "mnist"
    assert sources.gone(dataset, [pair], ["https://mirror.invalid"]) is None


@pytest.mark.parametrize("content", [None, b"", b"not netCDF", "uci", "unheard of"])
def test_without_a_source_that_could_be_lost_nothing_is_told(tmp_path, content):
    dataset = tmp_path / "digits.nc"
    if isinstance(content, bytes):
        dataset.write_bytes(content)
    elif content:
        made_from(dataset, content)
    assert sources.gone(dataset, [], []) is None
