"""Benchmark configurations by machine type."""

from typing import Any, NamedTuple

import jax
from flax import nnx

from experiments.models.resnet import ResNet
from experiments.models.vit import ViT

CLASSES = 10
IMAGE = (32, 32, 3)  # CIFAR's


class Setup(NamedTuple):
    """Sizes for which the benchmarks take minutes.

    Attributes:
      widths: channels of the stages of the ResNet.
      blocks: blocks per stage.
      vit: width, depth and heads of the vision transformer.
      batch: number of images.
      ks: numbers of inner steps in the comparison with ``optax.contrib.sam``.
      rounds: repetitions of each timing; the median is reported.
      compute: "float32" or "bfloat16", the type of activations; weights are float32.
    """

    widths: tuple[int, ...]
    blocks: int
    vit: tuple[int, int, int]
    batch: int
    ks: tuple[int, ...]
    rounds: int
    compute: str

    def models(self) -> dict[str, nnx.Module]:
        """The two models by name, freshly initialized."""
        width, depth, heads = self.vit
        size, _, channels = IMAGE
        blocks = (self.blocks,) * len(self.widths)
        common: dict[str, Any] = {"dtype": self.compute, "rngs": nnx.Rngs(0)}
        return {
            "ResNet": ResNet(CLASSES, channels, widths=self.widths, blocks=blocks, **common),
            "ViT": ViT(
                CLASSES,
                channels,
                image_size=size,
                patch_size=4,
                width=width,
                depth=depth,
                heads=heads,
                **common,
            ),
        }


LAPTOP = Setup((16, 32, 64), 1, (64, 4, 4), 32, (1, 2, 5, 20), 15, "float32")
ACCELERATOR = Setup((64, 128, 256, 512), 2, (192, 12, 3), 128, (1, 2, 5, 20), 30, "bfloat16")
QUICK = Setup((8,), 1, (16, 1, 2), 8, (1, 2), 2, "float32")


def choose_setup(quick: bool) -> Setup:
    """The setup for this machine: ResNet-18 in bfloat16 on an accelerator."""
    full = LAPTOP if jax.default_backend() == "cpu" else ACCELERATOR
    return QUICK._replace(compute=full.compute) if quick else full
