"""CIFAR from official archives, npz files and directories of TFDS, all with the same images."""

import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from experiments import data
from experiments.data.images.cifar_archives import names
from experiments.data.images.encoded import EncodedImages
from tests.support.tfds_datasets import cifar_example, write_tfds

PER_FILE = 2
CLASSES = {"cifar10": 10, "cifar100": 100}


def examples(name):
    """Images and labels of training and test set: five files and one, or one and one."""
    rng = np.random.default_rng(0)
    sizes = (10, 2) if name == "cifar10" else (4, 2)
    return [
        (
            rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8),
            rng.integers(0, CLASSES[name], size),
        )
        for size in sizes
    ]


def files(name, version):
    """The files of an official archive, by path."""
    (train, labels), (test, test_labels) = examples(name)
    if name == "cifar10":
        suffix = "" if version == "python" else ".bin"
        parts = {
            f"data_batch_{i + 1}{suffix}": (train[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
            for i in range(5)
        }
        parts[f"test_batch{suffix}"] = (test, test_labels)
        folder = "cifar-10-batches-py" if version == "python" else "cifar-10-batches-bin"
    else:
        suffix = "" if version == "python" else ".bin"
        parts = {f"train{suffix}": (train, labels), f"test{suffix}": (test, test_labels)}
        folder = f"cifar-100-{version}"
    return {f"{folder}/{part}": contents(name, version, *x) for part, x in parts.items()}


def contents(name, version, images, labels):
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    if version == "python":
        key = b"labels" if name == "cifar10" else b"fine_labels"
        return python2_pickle({b"data": rows, key: labels.tolist(), b"batch_label": b""})
    columns = (
        [labels[:, None]] if name == "cifar10" else [np.zeros((len(rows), 1)), labels[:, None]]
    )
    return np.concatenate([*columns, rows], axis=1).astype(np.uint8).tobytes()


class Python2Pickler(pickle._Pickler):
    """Writes all strings as Python 2 did, which made the official files."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_string(self, text):
        text = text.encode() if isinstance(text, str) else text
        short = len(text) < 256
        self.write(b"U" + bytes([len(text)]) if short else b"T" + struct.pack("<i", len(text)))
        self.write(text)

    dispatch[bytes] = dispatch[str] = save_string


def python2_pickle(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def pack(folder, name, version):
    (archive,) = [archive for archive in names(name) if version in archive]
    with tarfile.open(folder / archive, "w:gz") as tar:
        for path, content in files(name, version).items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder / archive


def unpack(folder, name, version):
    for path, content in files(name, version).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return (folder / path).parent


def save_npz(folder, name):
    (train, labels), (test, test_labels) = examples(name)
    path = folder / f"{name}.npz"
    np.savez(
        path, train_images=train, train_labels=labels, test_images=test, test_labels=test_labels
    )
    return path


def assert_read(name, data_dir):
    dataset = data.load(name, str(data_dir))
    assert dataset.num_classes == CLASSES[name]
    for (images, labels), read in zip(examples(name), (dataset.train, dataset.test), strict=True):
        np.testing.assert_array_equal(read.images, images)
        np.testing.assert_array_equal(read.labels, labels)
        assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("make", [pack, unpack])
def test_official_archives_are_read_packed_and_unpacked(name, version, make, tmp_path):
    path = make(tmp_path, name, version)
    assert_read(name, tmp_path)
    assert_read(name, path)


@pytest.mark.parametrize("name", CLASSES)
def test_an_npz_file_is_read(name, tmp_path):
    path = save_npz(tmp_path, name)
    assert_read(name, tmp_path)
    assert_read(name, path)


@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("cut", [0, 1000])
def test_a_truncated_archive_raises_with_its_path(version, cut, tmp_path):
    path = pack(tmp_path, "cifar10", version)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=path.name):
        data.load("cifar10", str(tmp_path))


@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("cut", [0, -1])
def test_a_truncated_file_raises_with_its_path(version, cut, tmp_path):
    folder = unpack(tmp_path, "cifar100", version)
    path = min(folder.glob("train*"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=str(path)):
        data.load("cifar100", str(tmp_path))


def test_a_missing_file_raises_with_its_path(tmp_path):
    path = unpack(tmp_path, "cifar10", "binary") / "data_batch_3.bin"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        data.load("cifar10", str(tmp_path))


def test_a_pickle_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("made").mkdir, ())

    path = unpack(tmp_path, "cifar10", "python") / "test_batch"
    path.write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(ValueError, match=str(path)):
        data.load("cifar10", str(tmp_path))
    assert not (tmp_path / "made").exists()


def resave(path, protocol, text_keys):
    """Saves an official file again, as Python 3 does, with NumPy's integers as labels."""
    saved = pickle.loads(path.read_bytes(), encoding="bytes")
    saved = {(k.decode() if text_keys else k): v for k, v in saved.items()}
    saved = {k: list(np.array(v)) if isinstance(v, list) else v for k, v in saved.items()}
    path.write_bytes(pickle.dumps(saved, protocol=protocol))


@pytest.mark.parametrize("text_keys", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", CLASSES)
def test_files_that_python_3_has_saved_again_are_read(name, protocol, text_keys, tmp_path):
    folder = unpack(tmp_path, name, "python")
    for path in folder.iterdir():
        resave(path, protocol, text_keys)
    assert_read(name, tmp_path)


def test_a_folder_of_another_name_is_read(tmp_path):
    folder = unpack(tmp_path, "cifar10", "python").rename(tmp_path / "mine")
    assert_read("cifar10", folder)


def test_an_intact_file_with_other_contents_is_not_called_damaged(tmp_path):
    path = unpack(tmp_path, "cifar10", "python") / "test_batch"
    path.write_bytes(pickle.dumps({"images": [], "labels": []}))
    with pytest.raises(ValueError, match=f"{path} is not a file of the archive: it has no data"):
        data.load("cifar10", str(tmp_path))


@pytest.mark.parametrize("cut", [0, -1])
def test_a_truncated_npz_file_raises_with_its_path(cut, tmp_path):
    path = save_npz(tmp_path, "cifar10")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises((ValueError, OSError), match=str(path)):
        data.load("cifar10", str(tmp_path))


def test_labels_of_another_dataset_raise(tmp_path):
    save_npz(tmp_path, "cifar100").rename(tmp_path / "cifar10.npz")
    with pytest.raises(ValueError, match="labels of cifar10 must be in"):
        data.load("cifar10", str(tmp_path))


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_shard_raises_with_its_path(damage, tmp_path):
    write_tfds("cifar10", tmp_path, {"train": 20, "test": 1}, cifar_example)
    (path,) = tmp_path.glob("cifar10/*/*train*record*")
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        content = bytearray(path.read_bytes())
        content[200:300] = bytes(100)
        path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=r"cifar10.train") as error:
        data.load("cifar10", str(tmp_path))
    assert damage == "flipped" or str(path) in str(error.value)


def test_images_are_decoded_only_when_selected(monkeypatch):
    opened = []
    decode = Image.open
    monkeypatch.setattr(Image, "open", lambda file: opened.append(file) or decode(file))
    encoded = [cifar_example(i)["image"].getvalue() for i in range(6)]
    images = EncodedImages(encoded, "test")[np.array([4, 1])][:1]
    assert len(images) == 1
    assert not opened
    assert np.asarray(images)[0, 0, 0, 0] == 48
    assert len(opened) == 1
    assert images.shape == (1, 32, 32, 3)
