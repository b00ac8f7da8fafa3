"""The published weights of the original ViT release, for fine-tuning."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.models.vit import ViT

# Names of the parts of a ViT in the files of that release. Layouts are the same.
_NAMES = {
    "attention": "MultiHeadDotProductAttention_1",
    "classifier": "head",
    "dense1": "MlpBlock_3/Dense_0",
    "dense2": "MlpBlock_3/Dense_1",
    "norm": "Transformer/encoder_norm",
    "norm1": "LayerNorm_0",
    "norm2": "LayerNorm_2",
    "positions": "Transformer/posembed_input/pos_embedding",
}
# Part of the head in pre-training on ImageNet-21k; dropped for fine-tuning (section 3.2).
_PRE_LOGITS = {"pre_logits/kernel", "pre_logits/bias"}
_POSITIONS = _NAMES["positions"]
# Errors of damaged archives; a single array (.npy), which is not a context manager, is a TypeError,
# and a header that claims more than there is memory for a MemoryError.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def load_vit_checkpoint(path: str | os.PathLike, model: ViT) -> None:
    """Replaces a model's weights by those of a ``.npz`` file of google-research/vision_transformer.

    As in Dosovitskiy et al., 2021, section 3.2, position embeddings are resized to the model's grid
    of patches if that differs (bilinearly, keeping that of the class token), and the classifier
    starts from zeros if that of the file has another number of classes or follows a ``pre_logits``
    layer.

    Args:
      path: a file such as ``ViT-B_16.npz``, pre-trained on ImageNet-21k.
      model: a ViT of the same width, depth, heads and patch size; ``nnx.eval_shape`` of one will
        do. Changed in place, and only if the file fits.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged or holds another model (the message lists missing and
        unexpected weights), or if ``model`` is not a ViT.
    """
    if not isinstance(model, ViT):
        raise ValueError(
            f"{path} holds the weights of a ViT, but the model is a {type(model).__name__}: choose "
            "a ViT as model, or omit pretrained."
        )
    weights = _read(path)
    params = {_name(name): param for name, param in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    _check_names(path, expected=params.keys(), found=weights.keys() - _PRE_LOGITS)

    # Fine-tuning starts a new head from zeros, as the release does. A layer of pre-logits, which
    # only some files have, belongs to the old head.
    for head in ("head/kernel", "head/bias"):
        if weights[head].shape != params[head].shape or _PRE_LOGITS & weights.keys():
            weights[head] = np.zeros(params[head].shape)
    tokens = params[_POSITIONS].shape[1]
    if _is_grid(weights[_POSITIONS]) and weights[_POSITIONS].shape[1] != tokens:
        weights[_POSITIONS] = _resize(weights[_POSITIONS], math.isqrt(tokens - 1))
    _check_shapes(path, params, weights)

    for name, param in params.items():
        param.set_value(jnp.asarray(weights[name], param.dtype))


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} must be a .npz file of the original ViT release; it is another file or "
            f"truncated: {' '.join(str(error).split())}"
        ) from error


def _name(path: Sequence[Any]) -> str:
    """The name in the file of a parameter of the model."""
    if path[0] == "blocks":
        _, number, *rest = path
        path = [f"Transformer/encoderblock_{number}", *rest]
    return "/".join(str(_NAMES.get(part, part)) for part in path)


def _check_names(path: str | os.PathLike, expected: Iterable[str], found: Iterable[str]) -> None:
    missing, unexpected = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unexpected:
        raise ValueError(
            f"{path} does not hold the weights of this ViT.\n"
            f"Expected but missing: {_some(missing)}.\nUnexpected: {_some(unexpected)}."
        )


def _check_shapes(
    path: str | os.PathLike, params: dict[str, nnx.Param], weights: dict[str, np.ndarray]
) -> None:
    wrong = [
        f"{name}: expected {param.shape}, is {weights[name].shape}"
        for name, param in params.items()
        if weights[name].shape != param.shape
    ]
    if wrong:
        raise ValueError(f"{path} holds weights of another size than this ViT's. {_some(wrong)}.")


def _some(items: list[str]) -> str:
    """The first few of many: a model of another depth lacks hundreds."""
    more = f" and {len(items) - 6} more" if len(items) > 6 else ""
    return ("; ".join(items[:6]) or "none") + more


def _is_grid(positions: np.ndarray) -> bool:
    """Whether these are embeddings of a class token and a square of patches."""
    patches = positions.shape[1] - 1 if positions.ndim == 3 else 0
    return patches > 0 and math.isqrt(patches) ** 2 == patches


def _resize(positions: np.ndarray, size: int) -> np.ndarray:
    """Interpolates ``[1, 1 + old * old, width]`` embeddings to a ``size`` x ``size`` grid."""
    old = math.isqrt(positions.shape[1] - 1)
    # The class token comes first and has no place in the grid; the patches follow row by row.
    cls, grid = positions[:, :1], positions[0, 1:].reshape(old, old, -1)
    # The release's own fine-tuning uses this function. With its default mode the last row would be
    # zeros where rounding puts it just outside the old grid (8 to 26 patches, say).
    from scipy import ndimage

    grid = ndimage.zoom(grid, (size / old, size / old, 1), order=1, mode="nearest")
    return np.concatenate([cls, grid.reshape(1, size * size, -1)], axis=1)
