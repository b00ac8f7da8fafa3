"""Description of the machine, and malloc settings for benchmarking."""

import ctypes
import os
import platform

import flax
import jax
import optax

from benchmarks.setups import Setup


def cores() -> int:
    """Number of processor cores available to this process: the threads of both frameworks."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory for the next call; returns whether it does.

    XLA:CPU allocates a program's temporary buffers on every call. glibc returns blocks above 32 MB
    to the system each time, and page faults on a new block take as long as half a gradient, so that
    programs just above and just below 32 MB could not be compared. Equivalent to setting
    ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` for all of them.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # constants of malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, 2**31 - 1))


def describe(setup: Setup) -> str:
    """Describes versions, hardware and models, in sentences."""
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
