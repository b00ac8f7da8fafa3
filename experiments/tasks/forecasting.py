"""Forecasting of a multivariate series: mean squared error of the scaled values."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up
from experiments.data.pipeline import Pipeline
from experiments.data.series.pipeline import Windows, series_pipeline
from experiments.data.series.split import divide
from experiments.data.series.synthetic import SYNTHETIC, synthetic_series
from experiments.data.series.table import Series, read_series
from experiments.models.sequence.samformer import SAMformer
from experiments.parallel.microbatches import check_batch_size
from experiments.tasks.base import Metrics, Task

_ATTENDS = {"samformer": True, "linear": False}  # whether the model of that name has attention


def make_forecasting(
    config: ConfigDict, mesh: Mesh, order_key: jax.Array, num_minibatches: int
) -> tuple[Task, Pipeline]:
    """Returns the task and the pipeline of the config's series."""
    look_up("model", config.model, _ATTENDS)  # raises for an unknown name, before data is read
    if config.validation:
        raise ValueError(
            f"validation must be 0 for a series, whose validation part is in split, "
            f"got {config.validation}."
        )
    check_batch_size(config.batch_size, config.microbatches, mesh.size)
    parts = divide(_read(config), config.split, config.lookback, config.horizon)
    pipeline = series_pipeline(
        parts,
        config.lookback + config.horizon,
        mesh,
        order_key,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        num_minibatches=num_minibatches,
        eval_test=config.eval_test,
    )
    task = forecasting(config, pipeline.info.channels)
    if _ATTENDS[config.model] and "test" in pipeline.evaluation:
        windows = pipeline.evaluation["test"]
        task = task._replace(measure=partial(_measure, windows, config.lookback))
    return task, pipeline


def _measure(
    windows: Callable[[], Iterable[Windows]], lookback: int, model: Any
) -> Mapping[str, float]:
    """Mean entropy of the rows of the attention, at most the logarithm of the channels."""

    @nnx.jit
    def entropy(model: SAMformer, batch: Windows) -> jax.Array:
        weights = model.attention(batch.values[:, :lookback])
        return jnp.sum(jax.scipy.special.entr(weights).sum(-1).mean(-1), where=batch.is_example)

    sums = [(entropy(model, batch), batch.is_example.sum()) for batch in windows()]
    total, examples = jax.device_get(jax.tree.map(lambda *x: sum(x), *sums))
    return {"attention_entropy": float(total / examples)}


def _read(config: ConfigDict) -> Series:
    """The series in the config's file, or in the file of a folder that has the dataset's name."""
    path = config.data_dir
    if path is not None:
        is_folder = Path(path).is_dir()
        return read_series(str(Path(path) / f"{config.dataset}.csv") if is_folder else path)
    if config.dataset != SYNTHETIC:
        raise FileNotFoundError(
            f"data_dir must be a CSV file or the folder of {config.dataset}.csv, got None."
        )
    return synthetic_series()


def forecasting(config: ConfigDict, channels: int) -> Task:
    """Returns the task of predicting the horizon from the look-back; batches are `Windows`."""

    def make_model(key: jax.Array) -> SAMformer:
        return SAMformer(
            config.lookback,
            config.horizon,
            channels,
            width=config.width,
            attention=_ATTENDS[config.model],
            dropout=config.dropout,
            dtype=jnp.dtype(config.dtype),
            rngs=nnx.Rngs(key),
        )

    def errors(model: nnx.Module, batch: Windows, rngs: nnx.Rngs | None = None) -> jax.Array:
        lookback, horizon = jnp.split(batch.values, [config.lookback], axis=1)
        return model(lookback, rngs) - horizon

    def loss(model: nnx.Module, batch: Windows, key: jax.Array) -> tuple[jax.Array, Metrics]:
        error = errors(model, batch, nnx.Rngs(dropout=key))
        return jnp.mean(error**2), {"mae": jnp.mean(jnp.abs(error))}

    def example_losses(model: nnx.Module, batch: Windows, key: jax.Array) -> jax.Array:
        return jnp.mean(errors(model, batch, nnx.Rngs(dropout=key)) ** 2, (1, 2))

    def evaluate(model: nnx.Module, batch: Windows) -> Metrics:
        error = errors(model, batch)

        def total(values: jax.Array) -> jax.Array:
            return jnp.sum(values.mean((1, 2)), where=batch.is_example)

        return {
            "mse": total(error**2),
            "mae": total(jnp.abs(error)),
            "examples": jnp.sum(batch.is_example),
        }

    return Task(make_model, loss, example_losses, evaluate, score="mse")
