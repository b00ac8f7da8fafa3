"""Settings that hold for every test: float64 where a test asks for it, eight virtual devices."""

import contextlib
import os
from importlib.metadata import version

# Before jax is imported. Tests of many devices need them; the others use the first one.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = ["--xla_force_host_platform_device_count=8"]
# Most programs of the tests run only a few steps: quick compilation counts, not quick code.
if version("jaxlib").startswith(("0.9.", "0.10.")):  # XLA refuses flags that it does not know
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
# `make test-optimized` sets 0: programs as users compile them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import pytest


@pytest.fixture
def optimized():
    """Compiles as users do, for tests of the compiled programs."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def float64():
    """Runs the test with 64-bit numbers."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilations():
    """A context in which the programs that XLA compiles are counted."""

    @contextlib.contextmanager
    def counting():
        count = [0]

        def listen(event, duration, **_):
            count[0] += event == "/jax/core/compile/backend_compile_duration"

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            yield count
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)

    return counting
