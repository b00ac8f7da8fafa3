"""The weights of a model that a method perturbs, or that weight decay acts on."""

from typing import Any

import jax
import optax


def normalization(params: optax.Params) -> Any:
    """True for the scales and shifts of normalization layers (SAM-ON), False elsewhere.

    In Flax only normalization layers have a parameter named ``scale``; their shift is the ``bias``
    of the same layer.
    """
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    normalized = {layer for layer, name in map(_layer_and_name, paths) if name == "scale"}
    return jax.tree.map_with_path(lambda path, _: _layer_and_name(path)[0] in normalized, params)


def without_biases(params: optax.Params) -> Any:
    """False for biases and for the scales of normalization layers, True elsewhere."""
    return jax.tree.map_with_path(
        lambda path, _: _layer_and_name(path)[1] not in ("bias", "scale"), params
    )


def _layer_and_name(path: Any) -> tuple[str, str]:
    """Layer and name of a parameter, such as ``blocks/0/norm1`` and ``scale``."""
    name = jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
    layer, _, parameter = name.rpartition("/")
    return layer, parameter
