"""One training run in several processes on loopback; each prints its weights. Not a test itself.

python -m tests.support.two_processes PROCESS_ID PROCESSES PORT METHOD
"""

import os
import sys

process_id, processes, port, method = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={4 // processes}"

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
if processes > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process_id)

from jax.sharding import NamedSharding

from tests.support.devices import REPLICATED, SHARDED, make_step, mesh, on_mesh
from tests.support.methods import METHODS
from tests.support.problems import batches, network

params, (x, y) = network(dtype="float64")[0], batches(number=6, size=32, dtype="float64")
tx = METHODS[method].optimizer(axis_name="data", sync_perturbation=False)
step = jax.jit(on_mesh(make_step(tx, "data"), devices=4))


def everywhere(tree, spec):
    """Host arrays, equal in all processes, as global arrays."""
    sharding = NamedSharding(mesh(4), spec)
    return jax.tree.map(
        lambda a: jax.make_array_from_callback(a.shape, sharding, lambda part: a[part]),
        jax.tree.map(np.asarray, tree),
    )


state = everywhere(tx.init(params), REPLICATED)
params = everywhere(params, REPLICATED)
for t in range(len(x)):
    params, state = step(params, state, everywhere((x[t], y[t]), SHARDED))
weights = [np.asarray(leaf.addressable_data(0)).ravel() for leaf in jax.tree.leaves(params)]
print("weights", *np.concatenate(weights).tolist())
