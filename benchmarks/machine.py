"""The machine at hand, in words, and how its memory is handled while measuring."""

import ctypes
import os
import platform

import flax
import jax
import optax

from benchmarks.setups import Setup


def cores() -> int:
    """The processor cores that this process may use; both frameworks get that many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Has the C library keep what is freed for the next call, where it is glibc.

    XLA:CPU takes the temporary memory of a program anew in every call. glibc gives blocks above 32
    MB back to the system each time, and getting one again page by page takes as long as half a
    gradient. Programs on either side of 32 MB could not be compared. The same for all of them:
    ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_``, set from within.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, 2**31 - 1))


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
