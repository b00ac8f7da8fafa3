"""Seconds that a gradient takes on this machine."""

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from experiments import models
from experiments.data.sizes import IMAGES, TEXT
from experiments.data.text.buckets import Pairs
from experiments.tasks.classification import cross_entropy
from experiments.tasks.translation import translation
from experiments.tasks.translation_setup import make_model
from experiments.training.run_dir import read_json, write_lines

_TIMED_PIXELS = 8 * 32 * 32  # of a timed batch on a CPU; larger batches are extrapolated from it
_TIMED_TOKENS = 1024  # likewise
_LENGTH = 32  # tokens of a timed sentence
_TIMINGS = 3


def gradient_seconds(config: ConfigDict, file: Path) -> float:
    """Seconds of one gradient of the base optimizer, without input pipeline and update.

    Args:
      config: the run's config.
      file: JSON file of measured gradients, which are measured once for each machine.
    """
    device = jax.devices()[0]
    key = f"{platform.node()} {device.device_kind} {_identity(config)}"
    known = read_json(file) if file.exists() else {}
    if key not in known:
        print(f"Measuring a gradient: {_identity(config)}", file=sys.stderr, flush=True)
        known[key] = _measure_text(config) if _is_text(config) else _measure_images(config)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_lines(file, [known])
    return known[key]


def _is_text(config: ConfigDict) -> bool:
    return config.dataset == TEXT


def _identity(config: ConfigDict) -> str:
    """What the time of a gradient depends on."""
    if _is_text(config):
        keys = ["dataset", "model", "dtype", "width", "layers", "vocabulary", "max_tokens"]
        return " ".join(str(config[key]) for key in keys)
    _, shape, _ = IMAGES[config.dataset]
    images = "x".join(map(str, shape))
    return f"{config.model} {config.dtype} {config.batch_size} images of {images}"


def _measure_images(config: ConfigDict) -> float:
    _, shape, classes = IMAGES[config.dataset]
    batch = _timed(config.batch_size, _TIMED_PIXELS // (shape[0] * shape[1]))
    *_, size, channels = shape
    model = models.build(
        config.model, classes, channels, image_size=size, dtype=config.dtype, rngs=nnx.Rngs(0)
    )
    images, labels = jnp.ones((batch, *shape)), jnp.zeros(batch, jnp.int32)

    def loss(model: nnx.Module) -> jax.Array:
        return cross_entropy(model(images), labels).mean()

    return _median_seconds(model, loss) * config.batch_size / batch


def _measure_text(config: ConfigDict) -> float:
    tokens = _timed(config.max_tokens, _TIMED_TOKENS)
    sentences = jnp.ones((max(1, tokens // _LENGTH), _LENGTH), jnp.int32)
    key = jax.random.key(0)
    task = translation(lambda key: make_model(config, config.vocabulary, key))

    def loss(model: nnx.Module) -> jax.Array:
        value, _ = task.loss(model, Pairs(sentences, sentences), key)
        return value

    return _median_seconds(task.make_model(key), loss) * config.max_tokens / sentences.size


def _timed(batch: int, limit: int) -> int:
    """The size of the batch that is timed: on a CPU at most ``limit``."""
    return max(1, min(batch, limit)) if jax.default_backend() == "cpu" else batch


def _median_seconds(model: nnx.Module, loss: Callable[[nnx.Module], jax.Array]) -> float:
    """The median time of some gradients of the loss with respect to the model's weights."""
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    params, rest = states

    @jax.jit
    def gradient(params: nnx.State) -> nnx.State:
        def loss_of_params(params: nnx.State) -> jax.Array:
            model = nnx.merge(graphdef, params, rest, copy=True)
            model.train()
            return loss(model)

        return jax.grad(loss_of_params)(params)

    jax.block_until_ready(gradient(params))
    seconds = []
    for _ in range(_TIMINGS):
        started = time.perf_counter()
        jax.block_until_ready(gradient(params))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
