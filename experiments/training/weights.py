"""Reads the weights in a checkpoint, without the data and the training functions of its run."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from experiments.methods.optimizers import read_optimizer
from experiments.training import run_dir
from experiments.training.checkpoints import kept_epochs, read_fields
from experiments.training.phases import method_of_epoch
from experiments.training.state import TrainState, weights_of
from experiments.training.transformations import skip_nonfinite


def read_weights(
    config: ConfigDict, folder: Path, epoch: int, model: nnx.Module
) -> tuple[nnx.State, nnx.State]:
    """The weights to evaluate and BatchNorm's statistics, as NumPy arrays.

    Args:
      config: config of the run.
      folder: folder of its checkpoints.
      epoch: number of finished epochs.
      model: shapes of the model.
    """
    bound = method_of_epoch(config, epoch - 1)
    # As the method wraps them: for Lookahead, fast and slow weights.
    params = jax.eval_shape(bound.row.wrap_params, nnx.state(model, nnx.Param))
    abstract = {"params": params, "batch_stats": nnx.state(model, nnx.BatchStat)}
    if bound.row.trains_perturbed_weights:
        # The structure of its state does not depend on the number of steps.
        tx = optax.with_extra_args_support(bound.build(read_optimizer(config), total_steps=1))
        if config.skip_nonfinite:
            tx = skip_nonfinite(tx, config.skip_nonfinite)
        abstract["opt_state"] = jax.eval_shape(tx.init, params)
    fields = read_fields(folder, epoch, abstract)
    weights = weights_of(TrainState(**({"opt_state": (), "key": None} | fields)))
    return jax.tree.map(np.asarray, weights), fields["batch_stats"]


def read_newest_weights(
    config: ConfigDict, folder: Path, model: nnx.Module
) -> tuple[nnx.State, nnx.State]:
    """The weights of the newest readable checkpoint after an epoch; see :func:`read_weights`.

    Raises:
      ValueError: if there is none.
    """
    for epoch in reversed(kept_epochs(folder)):
        try:
            return read_weights(config, folder, epoch, model)
        except Exception as error:  # whatever Orbax and the libraries below it raise for a file
            logging.warning("Checkpoint of epoch %d in %s cannot be read: %r", epoch, folder, error)
    raise ValueError(f"{folder} has no checkpoint of an epoch that can be read.")


def load_run(workdir: Path, model: nnx.Module) -> None:
    """Replaces a model's weights and BatchNorm statistics by those of a run's newest checkpoint.

    Args:
      workdir: folder of the run.
      model: the model, changed in place.

    Raises:
      ValueError: if the folder holds no run, or one of another model.
    """
    config = run_dir.read_config(workdir)
    try:
        found = read_newest_weights(config, workdir / run_dir.CHECKPOINTS, model)
    except ValueError as error:
        raise ValueError(f"pretrained must be a run of the same model: {error}") from error
    own = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(own), jax.tree.leaves(found), strict=True
    ):
        if mine.shape != np.shape(theirs):
            raise ValueError(
                f"pretrained must be a run of the same model, but {workdir} has weights of shape "
                f"{np.shape(theirs)} at {jax.tree_util.keystr(path[1:])}, not {mine.shape}."
            )
    nnx.update(model, *jax.tree.map(jnp.asarray, found))
