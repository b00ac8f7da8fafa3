"""Accelerators to compile for, on a machine without them.

The compilers come with the plugins: ``pip install "jax[cuda12]"`` for GPUs, ``pip install libtpu``
for TPUs. Neither needs a device to compile.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

# The properties of the device that XLA compiles for, as a GpuTargetConfigProto.
_H200 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4917000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150754820096
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "NVIDIA H200"
"""


class Target(NamedTuple):
    """Eight devices to compile for.

    Attributes:
      platform: platform of the lowering.
      plugin: Python module of the compiler.
      topology: arguments that describe the devices.
      compiler_options: options of the compiler.
    """

    platform: str
    plugin: str
    topology: Mapping[str, Any]
    compiler_options: Mapping[str, Any]


TARGETS: Mapping[str, Target] = {
    "H200": Target(
        "cuda",
        "jax_plugins.xla_cuda12",
        {"topology": "1x1x8", "target_config": _H200},
        # Autotuning would time the candidates on a device.
        {"xla_gpu_autotune_level": 0},
    ),
    "TPU v5e": Target("tpu", "libtpu", {"topology_name": "v5e:2x4"}, {}),
}


def is_available(name: str) -> bool:
    """Whether the compiler of a target is installed."""
    try:
        return find_spec(TARGETS[name].plugin) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


@functools.cache
def devices(name: str) -> Sequence[jax.Device]:
    """Eight devices of a target, to compile for and not to run on."""
    target = TARGETS[name]
    # libtpu would otherwise look for the TPU of a cloud machine.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    return topologies.get_topology_desc(platform=target.platform, **target.topology).devices


def compile_for(name: str, traced: jax.stages.Traced) -> jax.stages.Compiled:
    """Compiles a traced function whose arguments are sharded over devices of the target."""
    target = TARGETS[name]
    lowered = traced.lower(lowering_platforms=(target.platform,))
    return lowered.compile(compiler_options=dict(target.compiler_options))
