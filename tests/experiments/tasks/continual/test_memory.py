"""Reservoir memory against a sequential reservoir, and its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.dataset import Examples
from experiments.tasks.continual.memory import empty, push, sample


def examples(numbers):
    """Examples that carry their number as label and as pixel."""
    numbers = jnp.asarray(numbers, jnp.int32)
    return Examples(
        jnp.broadcast_to(numbers[:, None, None, None], (len(numbers), 1, 1, 1)), numbers
    )


def fill(capacity, stream, batch_size, key):
    memory = empty(capacity, (1, 1, 1), "int32")
    offer = jax.jit(push)
    for start in range(0, stream, batch_size):
        memory = offer(memory, key, examples(np.arange(start, min(start + batch_size, stream))))
    return memory


@jax.jit
def draw(key, position):
    return jax.random.randint(jax.random.fold_in(key, position), (), 0, position + 1)


def sequential(capacity, stream, key):
    """Algorithm R, one example after the other."""
    draws = [draw(key, position) for position in range(stream)]
    slots = []
    for position, slot in enumerate(draws):
        if len(slots) < capacity:
            slots.append(position)
        elif slot < capacity:
            slots[int(slot)] = position
    return slots


@pytest.mark.parametrize("batch_size", [1, 10])
def test_batches_equal_a_sequential_reservoir_whatever_their_size(batch_size):
    key = jax.random.key(3)
    memory = fill(7, 37, batch_size, key)
    np.testing.assert_array_equal(memory.labels, sequential(7, 37, key))
    np.testing.assert_array_equal(memory.images[:, 0, 0, 0], memory.labels)
    assert memory.seen == 37


@pytest.mark.parametrize("batch_size", [pytest.param(3, marks=pytest.mark.slow), 15])
def test_inclusion_is_uniform_over_20000_streams(batch_size):
    capacity, stream, streams = 5, 30, 20_000
    fill_many = jax.jit(jax.vmap(lambda key: fill(capacity, stream, batch_size, key).labels))
    labels = np.asarray(fill_many(jax.random.split(jax.random.key(0), streams)))
    counts = np.bincount(labels.ravel(), minlength=stream)
    p = capacity / stream
    deviations = (counts - streams * p) / np.sqrt(streams * p * (1 - p))
    assert np.abs(deviations).max() < 4.5
    # Inclusions are negatively correlated: their sum is fixed.
    assert np.sum(deviations**2) == pytest.approx(stream - 1, abs=5 * np.sqrt(2 * stream))


def test_nothing_is_stored_unless_asked():
    before = fill(7, 20, 10, jax.random.key(0))
    after = jax.jit(push)(before, jax.random.key(1), examples([50, 51]), jnp.array(False))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_samples_are_uniform_over_the_filled_slots():
    memory = fill(8, 5, 5, jax.random.key(0))
    draw_many = jax.jit(jax.vmap(lambda key: sample(memory, key, 4).labels))
    drawn = draw_many(jax.random.split(jax.random.key(1), 2000))
    counts = np.bincount(np.ravel(drawn), minlength=5)
    assert len(counts) == 5
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)


@pytest.mark.parametrize(("seen", "rows"), [(0, 0), (3, 3), (20, 6)])
def test_rows_without_a_memory_are_padding(seen, rows):
    memory = fill(8, seen, 10, jax.random.key(0))
    labels = sample(memory, jax.random.key(1), 6).labels
    np.testing.assert_array_equal(labels >= 0, np.arange(6) < rows)
