"""Models by name. A new one is a row here, a new family a file."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.configs.lookup import import_function, unknown
from experiments.models import initializers
from experiments.models.dropout import remove_streams
from experiments.models.pyramidnet import PyramidNet
from experiments.models.resnet import BasicBlock, Bottleneck, ResNet, ZeroPadding
from experiments.models.strided_cnn import NormalizedCNN, StridedCNN
from experiments.models.vgg import VGG
from experiments.models.vit import ViT
from experiments.models.vit_checkpoint import load_vit_checkpoint
from experiments.models.wide_resnet import WideResNet

_RESNETS = {
    18: {"block": BasicBlock, "blocks": (2, 2, 2, 2)},
    34: {"block": BasicBlock, "blocks": (3, 4, 6, 3)},
    50: {"block": Bottleneck, "blocks": (3, 4, 6, 3)},
}
_resnet = partial(ResNet, widths=(64, 128, 256, 512))
_VITS = {
    "s": {"width": 384, "depth": 12, "heads": 6},
    "b": {"width": 768, "depth": 12, "heads": 12},
}

# By name; `find` makes those with numbers in their names.
MODELS: Mapping[str, Callable[..., nnx.Module]] = {
    "resnet_digits": partial(ResNet, widths=(16, 32), blocks=(1, 1)),
    **{
        f"resnet{depth}": partial(_resnet, **size, scheme=initializers.PYTORCH)
        for depth, size in _RESNETS.items()
    },
    **{
        f"resnet{depth}_imagenet": partial(
            _resnet, **size, imagenet_stem=True, scheme=initializers.TORCHVISION
        )
        for depth, size in _RESNETS.items()
    },
    # The family for CIFAR of He et al., 2016, section 4.2: 6n + 2 layers, shortcuts of option A.
    **{
        f"resnet{6 * n + 2}": partial(
            ResNet, widths=(16, 32, 64), blocks=(n, n, n), shortcut=ZeroPadding
        )
        for n in (3, 5, 7, 9, 18)
    },
    "cnn_cifar": partial(NormalizedCNN, widths=(32, 64, 128)),
    "pyramidnet110": partial(PyramidNet, depth=110, alpha=270),
    **{f"vgg{depth}": partial(VGG, depth=depth) for depth in (11, 16)},
}
_NUMBERED = (
    "cnn<convolutions>_<channels>_<hidden>",
    "vit_b<patch>",
    "vit_s<patch>",
    "wrn<depth>_<width>",
)

__all__ = ["MODELS", "build", "find", "load_vit_checkpoint", "names"]


def names() -> list[str]:
    """The names that ``config.model`` may have, besides ``module:function``."""
    return [*sorted(MODELS), *_NUMBERED]


def find(name: str) -> Callable[..., nnx.Module]:
    """The function that makes a model, ``(num_classes, channels, *, rngs) -> model``.

    It may have arguments ``dtype`` and ``image_size`` as well.

    Args:
      name: a row of ``MODELS``; ``wrn28_10`` and the like for a Wide ResNet of that depth and
        width; ``vit_s16`` or ``vit_b16`` for a ViT of that size and patch size; ``cnn3_160_320``
        for that many strided convolutions, their channels, and hidden units; or
        ``module:function`` for a function of the user's.

    Raises:
      ValueError: if there is no such model.
    """
    name = str(name)  # None if the config has none
    if ":" in name:
        return import_function("model", name)
    if wrn := re.fullmatch(r"wrn([0-9]+)_([0-9]+)", name):
        depth, width = map(int, wrn.groups())
        return partial(WideResNet, depth=depth, width=width)
    if vit := re.fullmatch(r"vit_([bs])([0-9]+)", name):
        return partial(ViT, patch_size=int(vit[2]), **_VITS[vit[1]])  # type: ignore[arg-type]
    if cnn := re.fullmatch(r"cnn([0-9]+)_([0-9]+)_([0-9]+)", name):
        convolutions, width, hidden = map(int, cnn.groups())
        return partial(StridedCNN, convolutions=convolutions, width=width, hidden=hidden)
    if name not in MODELS:
        raise ValueError(unknown("model", name, names()))
    return MODELS[name]


def build(
    name: str,
    num_classes: int,
    channels: int,
    *,
    image_size: int = 32,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """Returns a freshly initialized model: images normalized, ``[N, H, W, C]``, to logits.

    Its layers have no random streams: before a training pass, ``dropout.insert_streams``.

    Args:
      name: as in :func:`find`.
      num_classes: number of classes.
      channels: channels of the images.
      image_size: their height and width, for models that have an argument of that name.
      dtype: type of the computation. Weights, batch statistics and logits are float32 in any case.
      rngs: keys for the initial weights.

    Raises:
      ValueError: if there is no model of that name, or not for images of that size.
    """
    make = find(name)
    optional = {"image_size": image_size, "dtype": jnp.dtype(dtype)}
    parameters = _parameters(make)
    given = {key: value for key, value in optional.items() if key in parameters}
    model = make(num_classes, channels, **given, rngs=rngs)
    if not isinstance(model, nnx.Module):
        raise ValueError(f"model {name!r} must return a Flax NNX module, got {model!r}.")
    remove_streams(model)
    return model


def _parameters(make: Callable[..., nnx.Module]) -> set[str]:
    """The names of a function's parameters."""
    while isinstance(make, partial):
        make = make.func
    if isinstance(make, type):  # Flax hides the signature of a module's constructor
        make = make.__init__  # type: ignore[misc]
    return set(inspect.signature(make).parameters)
