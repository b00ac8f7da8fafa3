"""Models by name. A new one is a row here, a new family a file."""

from collections.abc import Callable, Mapping
from functools import partial

from flax import nnx

from experiments.models.resnet import ResNet
from experiments.registry import look_up

MODELS: Mapping[str, Callable[..., nnx.Module]] = {
    "resnet_digits": partial(ResNet, widths=(16, 32), blocks=(1, 1)),
}

__all__ = ["MODELS", "build"]


def build(name: str, num_classes: int, channels: int, *, rngs: nnx.Rngs) -> nnx.Module:
    """Returns a freshly initialized model: images normalized, ``[N, H, W, C]``, to logits."""
    return look_up("model", name, MODELS)(num_classes, channels, rngs=rngs)
