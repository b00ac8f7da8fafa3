"""ImageNet (ILSVRC 2012) as a stream of batches, decoded and cropped on the host by Grain.

    splits = open_splits(data_dir)
    batches = stream(train_batches(splits.train, batch_size=512, seed=0), workers=8)
    batch = next(batches)

After ``step`` steps, ``stream(train_batches(...)[step:])`` resumes, with any number of workers.
So do Grain's ``get_state`` and ``set_state``, but only with the number of workers that the state
is from: with another, Grain fails or resumes at a wrong batch.
"""

import math
import signal
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import grain
import numpy as np
from PIL import Image

from experiments.data.dataset import PADDING, Examples
from experiments.data.images import crops
from experiments.data.images.tfds_source import open_split
from experiments.data.splits import check_fraction

NAME = "imagenet2012"  # in TFDS
NUM_CLASSES = 1000
MEAN = 255 * np.array([0.485, 0.456, 0.406], np.float32)
STD = 255 * np.array([0.229, 0.224, 0.225], np.float32)

_THREADS = 8


class Splits(NamedTuple):
    """Encoded images and labels, read lazily.

    Attributes:
      train: examples to train on.
      test: the official validation set, which is commonly reported as the test set.
      val: training examples that are held out, if any.
    """

    train: grain.MapDataset
    test: grain.MapDataset
    val: grain.MapDataset | None = None


def open_splits(
    data_dir: str | None = None, validation: float = 0.0, train_examples: int | None = None
) -> Splits:
    """Opens the training and the evaluation images.

    Args:
      data_dir: directory of TFDS, default None: its own default.
      validation: fraction of the training images to hold out, in [0, 1).
      train_examples: how many of the other training images to train on, default None: all.

    Raises:
      FileNotFoundError: if the data has not been prepared; the message says how.
    """
    check_fraction("validation", validation)
    train = _encoded("train", data_dir)
    held = round(validation * len(train))
    if train_examples is not None and not 1 <= train_examples <= len(train) - held:
        raise ValueError(
            f"train_examples must be in [1, {len(train) - held}], got {train_examples}."
        )
    # TFDS stores them shuffled, so that the first ones are a fixed random choice.
    val = train[:held] if held else None
    return Splits(train[held:][:train_examples], _encoded("validation", data_dir), val)


def train_batches(
    examples: grain.MapDataset,
    batch_size: int,
    seed: int,
    shards: grain.sharding.ShardOptions | None = None,
    image_size: int = 224,
    num_minibatches: int = 1,
) -> grain.MapDataset:
    """Random crops and flips of the images in random order, epoch after epoch without end.

    Orders and crops differ between epochs. Each follows from the seed alone: the processes
    together see the same batches however many they are. An epoch has only whole batches.

    Args:
      examples: encoded images and labels.
      batch_size: number of examples of a minibatch, of all processes together.
      seed: of the order, the crops and the flips.
      shards: index of this process and number of processes; default None: those of JAX.
      image_size: height and width of the crops.
      num_minibatches: number of minibatches of a step; several are stacked.

    Returns:
      This process's part of each step's batch: ``Examples`` of uint8 images and int32 labels.
    """
    shards = shards or grain.sharding.ShardByJaxProcess()
    step_size = batch_size * num_minibatches
    whole = len(examples) // step_size * step_size
    if not whole:
        largest = len(examples) // num_minibatches
        raise ValueError(f"batch_size must be in [1, {largest}], got {batch_size}.")
    cropped = examples.seed(seed).shuffle().random_map(partial(_train_example, size=image_size))
    batches = _shard(cropped, whole, batch_size, shards)
    return (batches.batch(num_minibatches) if num_minibatches > 1 else batches).repeat()


def eval_batches(
    examples: grain.MapDataset,
    batch_size: int,
    shards: grain.sharding.ShardOptions | None = None,
    image_size: int = 224,
) -> grain.MapDataset:
    """Each image once, its center, in a fixed order.

    The last batch is padded with images that are labelled ``PADDING``: all batches have one shape,
    and all processes equally many.

    Args:
      examples: encoded images and labels.
      batch_size: number of examples of a batch, of all processes together.
      shards: index of this process and number of processes; default None: those of JAX.
      image_size: height and width of the images.

    Returns:
      This process's part of each batch, in the form of ``train_batches``.
    """
    shards = shards or grain.sharding.ShardByJaxProcess()
    padded = math.ceil(len(examples) / batch_size) * batch_size
    centers = examples.repeat().map_with_index(
        partial(_eval_example, examples=len(examples), size=image_size)
    )
    return _shard(centers, padded, batch_size, shards)


def stream(batches: grain.MapDataset, workers: int = 0) -> grain.DatasetIterator:
    """Prefetches batches.

    Args:
      batches: of ``train_batches`` or ``eval_batches``.
      workers: number of processes that do so; 0: threads of this one. The batches and their order
        are the same. Processes need absl's flags parsed, as ``absl.app.run`` does.

    Returns:
      An iterator; ``close()`` ends its processes.
    """
    # Each thread makes a batch and keeps it in the buffer; by default there would be 500 batches.
    threads = 1 if workers else _THREADS
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    processes = grain.MultiprocessingOptions(num_workers=workers)
    return iter(batches.to_iter_dataset(reading).mp_prefetch(processes, _ignore_interrupts))


def _ignore_interrupts(worker: int, workers: int) -> None:
    """Leaves Ctrl-C, which reaches all processes of a terminal, to the process that trains."""
    del worker, workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _encoded(split: str, data_dir: str | None) -> grain.MapDataset:
    return grain.MapDataset.source(open_split(NAME, split, data_dir))  # workers decode the crop


def _shard(
    examples: grain.MapDataset, count: int, batch_size: int, shards: grain.sharding.ShardOptions
) -> grain.MapDataset:
    """Batches of every n-th of the first ``count`` examples, which are whole batches."""
    if batch_size % shards.shard_count:
        raise ValueError(
            f"batch_size must be a multiple of the {shards.shard_count} processes,"
            f" got {batch_size}."
        )
    mine = examples[shards.shard_index : count : shards.shard_count]
    return mine.batch(batch_size // shards.shard_count)


def _decode(element: Mapping[str, Any]) -> Image.Image:
    return crops.decode(element["image"], f"{NAME} {element.get('file_name', '')}".strip())


def _train_example(element: Mapping[str, Any], rng: np.random.Generator, *, size: int) -> Examples:
    image = _decode(element)
    crop = crops.resized(image, crops.random_box(*image.size, rng), size)
    flip = rng.random() < 0.5
    return Examples(crop[:, ::-1] if flip else crop, np.int32(element["label"]))


def _eval_example(index: int, element: Mapping[str, Any], *, examples: int, size: int) -> Examples:
    image = _decode(element)
    center = crops.resized(image, crops.central_box(*image.size), size)
    return Examples(center, np.int32(element["label"] if index < examples else PADDING))
