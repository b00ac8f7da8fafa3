"""FSDP by a config key: as replicated training, with checkpoints for any number of devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import models
from experiments.data.pipeline import gather
from experiments.parallel.mesh import batch_sharding, make_mesh, resident
from experiments.parallel.microbatches import read_parts
from experiments.training.checkpoints import Checkpoints
from experiments.training.setup import make_run
from tests.support.training import first_batches, start


class Dense64(nnx.Module):
    """Two layers with BatchNorm in float64."""

    def __init__(self, num_classes, channels, *, dtype, rngs):
        self.first = nnx.Linear(64, 16, param_dtype=jnp.float64, rngs=rngs)
        self.norm = nnx.BatchNorm(16, param_dtype=jnp.float64, rngs=rngs)
        self.second = nnx.Linear(16, num_classes, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        x = x.reshape(len(x), -1).astype(jnp.float64)
        return self.second(nnx.relu(self.norm(self.first(x))))


@pytest.fixture
def sharded(config, float64, monkeypatch):
    monkeypatch.setitem(models.MODELS, "dense64", Dense64)
    config.update(
        model="dense64", method="ae_looksam", train_examples=256,
        eval_batch_size=64, shard_weights=True,
    )  # fmt: skip
    return config


def train(config, num_devices, steps=2):
    trainer, pipeline, state = start(config, num_devices)
    for batch in first_batches(pipeline, steps):
        state, _ = trainer.phases[0].step(state, batch)
    return state


def on_host(state):
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


def assert_sharded(state, num_devices):
    """Matrices of weights, momentum and LookSAM are divided along their largest axis."""
    shapes = {
        x.sharding.shard_shape(x.shape) for x in jax.tree.leaves(state) if x.shape == (64, 16)
    }
    assert shapes == {(64 // num_devices, 16)}


def test_sharded_weights_train_as_replicated_ones_and_resume_on_other_devices(sharded, tmp_path):
    state = train(sharded, 8)
    assert_sharded(state, 8)
    sharded.shard_weights = False
    replicated = train(sharded, 8)
    sharded.shard_weights = True
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(replicated))
    chex.assert_trees_all_close(on_host(state), on_host(replicated), rtol=0, atol=1e-12)

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, [{"epoch": 1}])
    with Checkpoints(tmp_path) as checkpoints:
        trainer, _ = make_run(sharded, make_mesh(4))
        restored = checkpoints.restore(trainer.abstract_state).state
    assert_sharded(restored, 4)
    chex.assert_trees_all_equal(on_host(restored), on_host(state))


def test_a_large_dataset_is_divided_and_not_gathered():
    mesh, rows = make_mesh(8), np.array([0, 41, 7, 7, 30, 3, 12, 24])
    images = np.arange(42 * 5, dtype=np.float32).reshape(42, 5)
    divided = resident(images, mesh, large=100)
    assert divided.sharding.shard_shape(divided.shape) == (6, 5)  # 48 examples with the padding
    np.testing.assert_array_equal(gather(divided, rows, batch_sharding(mesh)), images[rows])
    hlo = gather.lower(divided, rows, batch_sharding(mesh)).compile().as_text()
    assert "f32[48,5]" not in hlo
    assert resident(images, mesh).sharding.is_fully_replicated


def test_a_perturbation_per_device_needs_whole_weights(config):
    config.update(per_device_perturbation=True, shard_weights=True)
    with pytest.raises(ValueError, match="shard_weights must be False"):
        read_parts(config, make_mesh(1))
