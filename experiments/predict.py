"""A trained image classifier as a function, to use it outside of these experiments."""

from collections.abc import Callable
from os import PathLike
from os.path import expanduser

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.augment import normalize
from experiments.results.measures.functions import abstract_model
from experiments.results.measures.trained_run import open_run
from experiments.storage.disk import user_path


def load(
    workdir: str | PathLike[str], epoch: int | None = None, data_dir: str | None = None
) -> Callable[[np.ndarray | jax.Array], jax.Array]:
    """Loads the model of a run in evaluation mode.

    Args:
      workdir: folder of a run of image classification.
      epoch: epoch of the checkpoint; None for the newest.
      data_dir: folder of the dataset, whose mean and standard deviation normalize the images; None
        for that of the run.

    Returns:
      ``images -> logits``, for images of shape (examples, height, width, channels) as the dataset
      stores them, not normalized: for most datasets from 0 to 255.

    Raises:
      ValueError: if the folder holds no such run or checkpoint.
    """
    run = open_run(
        user_path(str(workdir)), epoch=epoch, data_dir=data_dir and expanduser(data_dir), m=1
    )
    arch, checkpoint = run.architecture, run.checkpoint
    graphdef = nnx.graphdef(abstract_model(arch))

    @jax.jit
    def logits(images: jax.Array) -> jax.Array:
        model = nnx.merge(graphdef, checkpoint.params, checkpoint.statistics, copy=True)
        model.eval()
        return model(normalize(images, np.asarray(arch.mean), np.asarray(arch.std)))

    def predict(images: np.ndarray | jax.Array) -> jax.Array:
        if np.shape(images)[1:] != tuple(arch.image_shape):
            raise ValueError(
                f"images must have the shape (examples, {', '.join(map(str, arch.image_shape))}), "
                f"got {np.shape(images)}."
            )
        return logits(jnp.asarray(images))

    return predict
