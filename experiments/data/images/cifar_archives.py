"""CIFAR's official archives, packed or unpacked, in their Python and their binary version."""

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Examples

_PIXELS = 3 * 32 * 32  # of an image, stored channel by channel


class _Version(NamedTuple):
    """An archive and the files in its folder.

    Attributes:
      archive: name of the archive.
      folder: its folder.
      train: names of the files of the training set.
      test: names of the files of the test set.
      label: key of the labels in the pickled dictionaries, or in binary files the position of the
        label's byte and the number of label bytes before an image.
    """

    archive: str
    folder: str
    train: list[str]
    test: list[str]
    label: bytes | tuple[int, int]


_VERSIONS = {
    "cifar10": [
        _Version(
            "cifar-10-python.tar.gz",
            "cifar-10-batches-py",
            [f"data_batch_{i}" for i in range(1, 6)],
            ["test_batch"],
            b"labels",
        ),
        _Version(
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            [f"data_batch_{i}.bin" for i in range(1, 6)],
            ["test_batch.bin"],
            (0, 1),
        ),
    ],
    "cifar100": [
        _Version(
            "cifar-100-python.tar.gz", "cifar-100-python", ["train"], ["test"], b"fine_labels"
        ),
        _Version(
            "cifar-100-binary.tar.gz", "cifar-100-binary", ["train.bin"], ["test.bin"], (1, 2)
        ),
    ],
}


class Archive(NamedTuple):
    """An archive that was found: the packed file, or the unpacked folder."""

    path: Path
    version: _Version

    def read(self) -> tuple[Examples, Examples]:
        """Returns training and test set; raises a ValueError with the path of a damaged file."""
        if self.path.is_dir():
            return self._examples(self.version.train), self._examples(self.version.test)
        files = _unpack(self.path, self.version)
        return (
            self._examples(self.version.train, files),
            self._examples(self.version.test, files),
        )

    def _examples(self, names: list[str], files: dict[str, bytes] | None = None) -> Examples:
        parts = []
        for name in names:
            path = self.path / name
            contents = path.read_bytes() if files is None else files[name]
            try:
                images, labels = _parse(contents, self.version.label)
                if not len(labels):
                    raise ValueError("no examples")
                parts.append((images, labels))
            except _OtherContentsError as error:
                raise ValueError(f"{path} is not a file of the archive: {error}.") from error
            except Exception as error:  # what pickle and NumPy raise for damaged files
                raise ValueError(f"{path} is damaged: {error}.") from error
        images, labels = (np.concatenate(x) for x in zip(*parts, strict=True))
        return Examples(images, labels)


def names(name: str) -> list[str]:
    """The names of the official archives of a dataset."""
    return [version.archive for version in _VERSIONS[name]]


def find(name: str, data_dir: Path) -> Archive | None:
    """The archive or unpacked folder that ``data_dir`` is or holds."""
    for version in _VERSIONS[name]:
        for path in (data_dir / version.folder, data_dir / version.archive, data_dir):
            if path.exists() and path.name in (version.folder, version.archive):
                return Archive(path, version)
        if all((data_dir / file).is_file() for file in (*version.train, *version.test)):
            return Archive(data_dir, version)  # unpacked into a folder of another name
    return None


def _unpack(path: Path, version: _Version) -> dict[str, bytes]:
    """The contents of the archive's files, by name."""
    try:
        with tarfile.open(path) as archive:
            return {
                name: archive.extractfile(f"{version.folder}/{name}").read()  # type: ignore[union-attr]
                for name in (*version.train, *version.test)
            }
    except (tarfile.TarError, EOFError, KeyError, zlib.error, AttributeError) as error:
        reason = " ".join(str(error).split())  # tarfile names each way that it tried on a line
        raise ValueError(f"{path} is damaged: {reason}.") from error


def _parse(contents: bytes, label: bytes | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images ``[example, 32, 32, 3]`` and labels of one file."""
    if isinstance(label, bytes):
        batch = _Unpickler(io.BytesIO(contents), encoding="bytes").load()
        # Files that Python 3 has saved again have text as keys.
        batch = {key.encode() if isinstance(key, str) else key: x for key, x in batch.items()}
        if missing := {b"data", label} - batch.keys():
            raise _OtherContentsError(f"it has no {', '.join(key.decode() for key in missing)}")
        pixels, labels = np.asarray(batch[b"data"]), np.array(batch[label], np.int32)
    else:
        position, num_labels = label
        records = np.frombuffer(contents, np.uint8).reshape(-1, num_labels + _PIXELS)
        pixels, labels = records[:, num_labels:], records[:, position].astype(np.int32)
    images = pixels.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


class _OtherContentsError(Exception):
    """An intact file with something else in it."""


def _frombuffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, value: bytes) -> Any:
    return np.frombuffer(value, dtype)[0]


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries of arrays only: a pickle could otherwise run any code."""

    _ALLOWED = {  # noqa: RUF012
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,  # protocol 5
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # Bytes in protocol 2; without any, and with some.
        ("__builtin__", "bytes"): lambda: b"",
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }

    def find_class(self, module: str, name: str) -> Any:
        key = module.replace("numpy.core.", "numpy._core."), name  # as NumPy 1 has written it
        if key not in self._ALLOWED:
            raise _OtherContentsError(f"{module}.{name} does not belong in this file")
        return self._ALLOWED[key]
