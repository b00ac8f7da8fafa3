"""Plain text as bytes: the embedded documentation of Python, or any file."""

from functools import partial
from operator import mul
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.data.pipeline import Pipeline, shuffled_epochs, steps_per_epoch
from experiments.parallel.mesh import batch_sharding, round_up, to_devices

NUM_BYTES = 256
PADDING = -1

_TEST_FRACTION = 0.1


class Windows(NamedTuple):
    """Windows of a text, int16 ``[window, position]``.

    A window has one byte more than a model sees: the first byte is predicted by none, and the last
    one is the first of the next window. Padding is ``PADDING``.
    """

    train: np.ndarray
    test: np.ndarray


def read_text(path: str | None) -> bytes:
    """Reads a file, by default the topics of Python's ``help()``.

    They are half a megabyte of English that every Python ships (PSF license). Their wording differs
    between versions of Python.
    """
    if path is None:
        return "\n".join(topics[name] for name in sorted(topics)).encode()
    if not Path(path).is_file():
        raise FileNotFoundError(f"data_dir must be a text file, got {path!r}.")
    return Path(path).read_bytes()


def make_windows(text: bytes, length: int) -> Windows:
    """Windows that predict ``length`` bytes each; the last tenth of the text is the test set.

    Raises:
      ValueError: unless ``length`` is in [1, a tenth of the text).
    """
    tokens = np.frombuffer(text, np.uint8).astype(np.int16)
    split = round(len(tokens) * (1 - _TEST_FRACTION))
    largest = len(tokens) - split - 1
    if not 1 <= length <= largest:
        raise ValueError(f"length must be in [1, {largest}] for this text, got {length}.")
    return Windows(_windows(tokens[:split], length), _windows(tokens[split:], length))


def _windows(tokens: np.ndarray, length: int) -> np.ndarray:
    number = (len(tokens) - 1) // length
    return np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[: number * length : length]


class ByteInfo(NamedTuple):
    """Static properties of a text: the number of training windows, and of bytes to predict each."""

    num_examples: int
    length: int


def byte_pipeline(
    windows: Windows,
    mesh: Mesh,
    key: jax.Array,
    *,
    batch_size: int,
    eval_batch_size: int,
    num_minibatches: int = 1,
) -> Pipeline:
    """Returns a pipeline of int16 windows ``[example, position]``, in memory.

    Args:
      windows: the text.
      mesh: devices that divide each batch.
      key: PRNG key of the order of the windows.
      batch_size: number of windows of a minibatch; the last, partial one of an epoch is dropped.
      eval_batch_size: the same for evaluation, rounded up to what the devices divide.
      num_minibatches: number of minibatches of a training step.
    """
    number, length = len(windows.train), windows.train.shape[1] - 1
    eval_size = round_up(min(eval_batch_size, len(windows.test)), mesh.size)
    padding = round_up(len(windows.test), eval_size) - len(windows.test)
    test_set = np.pad(windows.test, ((0, padding), (0, 0)), constant_values=PADDING)
    test = [
        to_devices(part, batch_sharding(mesh))
        for part in np.split(test_set, len(test_set) // eval_size)
    ]
    return Pipeline(
        ByteInfo(number, length),
        partial(mul, steps_per_epoch(number, batch_size, num_minibatches)),
        batch_size * num_minibatches * length,
        shuffled_epochs(windows.train, mesh, key, batch_size, num_minibatches),
        {"test": partial(iter, test)},
        unit="tokens",
    )
