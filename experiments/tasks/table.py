"""Tasks by name. A new one is a row here: the task and its pipeline, made from the config."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments import data, models
from experiments.data import Dataset, pipeline
from experiments.data.augment import crop_and_flip, scale_brightness
from experiments.data.dataset import DatasetInfo
from experiments.data.images import imagenet
from experiments.data.pipeline import Pipeline
from experiments.data.task_stream import TaskStream, class_incremental, joint_dataset
from experiments.parallel.microbatches import check_batch_size
from experiments.tasks.base import Task
from experiments.tasks.classification import classification
from experiments.tasks.continual.learners import is_lifelong
from experiments.tasks.continual.task import check, make_continual
from experiments.tasks.forecasting import make_forecasting
from experiments.tasks.language import make_language
from experiments.tasks.multi_head import multi_head
from experiments.tasks.translation_setup import make_translation

Builder = Callable[[ConfigDict, Mesh, jax.Array, int], tuple[Task, Pipeline]]


def _classification(
    config: ConfigDict, mesh: Mesh, order_key: jax.Array, num_minibatches: int
) -> tuple[Task, Pipeline]:
    check_batch_size(config.batch_size, config.microbatches, mesh.size)
    batches = {
        "batch_size": config.batch_size,
        "eval_batch_size": config.eval_batch_size,
        "num_minibatches": num_minibatches,
        "eval_test": config.eval_test,
    }
    models.find(config.model)  # raises for an unknown name, before data is read
    if config.dataset == imagenet.NAME:
        splits = open_imagenet(config)
        info = imagenet_info(config, splits)
        pipe = pipeline.streamed(splits, info, mesh, config.seed, workers=config.workers, **batches)
    else:
        pipe = pipeline.in_memory(load_dataset(config), mesh, order_key, **batches)
    return classification_task(config, pipe.info), pipe


def classification_task(config: ConfigDict, info: DatasetInfo) -> Task:
    """The task of classifying the images of a dataset with the config's model."""
    return classification(
        config.model,
        info.image_shape,
        info.num_classes,
        info.mean,
        info.std,
        dtype=config.dtype,
        label_smoothing=config.label_smoothing,
        augment=info.augment if config.augment is None else config.augment,
    )


def load_dataset(config: ConfigDict) -> Dataset:
    """Loads a dataset that fits in memory, with the config's splits, subset and label noise."""
    dataset = data.load_encoded(config.dataset, config.data_dir)
    dataset = data.refold(dataset, config.fold, config.data_seed)
    dataset = data.hold_out(dataset, config.validation, config.data_seed)
    dataset = data.take(dataset, config.train_examples, config.data_seed)
    dataset = data.flip_labels(dataset, config.label_noise, config.data_seed)
    mean, std = _normalization(config, dataset.mean, dataset.std)
    return data.shrink(data.decode(dataset), config.shrink)._replace(mean=mean, std=std)


def _multi_head(
    config: ConfigDict, mesh: Mesh, order_key: jax.Array, num_minibatches: int
) -> tuple[Task, Pipeline]:
    """The tasks of a stream, one after the other, or with ``learner=joint`` all at once."""
    if is_lifelong(config):
        check(config)
        dataset, stream = load_stream(config)
        task = stream_task(config, dataset, stream)
        return make_continual(config, task, stream, mesh, order_key)
    check_batch_size(config.batch_size, config.microbatches, mesh.size)
    dataset, stream = load_stream(config)
    pipe = pipeline.in_memory(
        joint_dataset(dataset, stream),
        mesh,
        order_key,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        num_minibatches=num_minibatches,
        eval_test=config.eval_test,
    )
    return stream_task(config, dataset, stream), pipe


def load_stream(config: ConfigDict) -> tuple[Dataset, TaskStream]:
    """The config's dataset and its division into tasks."""
    dataset = load_dataset(config)
    shape = (config.tasks, config.classes_per_task)
    stream = class_incremental(dataset, *shape, seed=config.seed, eval_test=config.eval_test)
    return dataset, stream


def stream_task(config: ConfigDict, dataset: Dataset, stream: TaskStream) -> Task:
    """The task of classifying the images of a stream with the config's model."""
    augments = dataset.augment if config.augment is None else config.augment

    def augment(key: jax.Array, images: jax.Array) -> jax.Array:
        crop_key, brightness_key = jax.random.split(key)
        images = crop_and_flip(crop_key, images)
        return scale_brightness(brightness_key, images, config.brightness)

    return multi_head(
        config.model,
        stream.image_shape,
        stream.tasks,
        stream.classes_per_task,
        dataset.mean,
        dataset.std,
        dtype=config.dtype,
        augment=augment if augments else None,
    )


def open_imagenet(config: ConfigDict) -> imagenet.Splits:
    """Opens ImageNet with the config's split and subset."""
    if config.label_noise:
        raise ValueError(
            f"label_noise must be 0 for {imagenet.NAME}, which is streamed, "
            f"got {config.label_noise}."
        )
    return imagenet.open_splits(config.data_dir, config.validation, config.train_examples)


def imagenet_info(config: ConfigDict, splits: imagenet.Splits) -> DatasetInfo:
    """The static properties of ImageNet."""
    mean, std = _normalization(config, imagenet.MEAN, imagenet.STD)
    return DatasetInfo(
        num_examples=len(splits.train),
        image_shape=(config.image_size, config.image_size, 3),
        num_classes=imagenet.NUM_CLASSES,
        mean=mean,
        std=std,
        augment=False,  # the host crops and flips
    )


def _normalization(
    config: ConfigDict, mean: np.ndarray, std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The dataset's mean and deviation, or those of a pretrained model's images."""
    if _starts_from_vit(config):  # the released ViTs were trained on images from -1 to 1
        mean = std = np.full_like(mean, 255 / 2)
    return mean, std


def _starts_from_vit(config: ConfigDict) -> bool:
    """Whether the weights come from a ViT's file, directly or by way of other runs."""
    start = config.pretrained
    while start and Path(start).is_dir():
        start = json.loads((Path(start) / "config.json").read_text(encoding="utf-8"))["pretrained"]
    return bool(start)


TASKS: Mapping[str, Builder] = {
    "classification": _classification,
    "forecasting": make_forecasting,
    "language": make_language,
    "multi_head": _multi_head,
    "translation": make_translation,
}
