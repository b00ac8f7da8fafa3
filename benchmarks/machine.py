"""The machine at hand, in words."""

import os
import platform

import flax
import jax
import optax

from benchmarks.setups import Setup


def cores() -> int:
    """The processor cores that this process may use; both frameworks get that many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(setup: Setup) -> str:
    """What a reader needs to know to compare numbers with their own."""
    width, depth, heads = setup.vit
    return (
        f"Python {platform.python_version()}, jax {jax.__version__}, flax {flax.__version__}, "
        f"optax {optax.__version__}; backend {jax.default_backend()}, "
        f"device {jax.devices()[0].device_kind}, {cores()} {platform.machine()} cores. "
        f"ResNet: stages of {setup.widths} channels, {setup.blocks} blocks in each. "
        f"ViT: {depth} blocks of width {width} with {heads} heads, patches of 4x4 pixels. "
        f"Computation in {setup.compute}, weights in float32, batches of {setup.batch} images of "
        f"32x32x3, medians of {setup.rounds} rounds."
    )
