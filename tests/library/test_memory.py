"""Memory of a training step: buffers, donation and size of the compiled program."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.support.methods import METHODS, SGD, each

pytestmark = pytest.mark.usefixtures("optimized")
SIZE = 1 << 20  # weights, far larger than everything else in these programs


def compiled_step(tx, size=SIZE):
    """The compiled training step on ``size`` weights; weights and state are donated."""
    target = jnp.linspace(-1, 1, 8)

    def step(w, state):
        grad_fn = lambda p, i: jnp.tanh(p + target[0]) * p
        updates, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
        return optax.apply_updates(w, updates), state

    w = jax.ShapeDtypeStruct((size,), jnp.float32)
    state = jax.eval_shape(tx.init, w)
    return jax.jit(step, donate_argnums=(0, 1)).lower(w, state).compile()


def temporary(tx):
    return compiled_step(tx).memory_analysis().temp_size_in_bytes


loops = each(
    lambda method: "k" in method.arguments and not method.arguments.get("switch_minibatch")
)


@loops
def test_memory_does_not_grow_with_k(method):
    few, many = (temporary(method.optimizer(SGD, k=k)) for k in (2, 50))
    assert abs(many - few) <= 0.02 * few


def test_memory_of_a_plain_step_is_the_weights_and_the_momentum_alone():
    assert temporary(optax.with_extra_args_support(SGD)) < 0.01 * 4 * SIZE


@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="older compilers keep one buffer more")
@each(lambda method: method.buffers)
def test_no_more_buffers_than_the_algorithm_needs(method):
    buffers = temporary(method.optimizer(SGD)) / (4 * SIZE)
    assert buffers == pytest.approx(len(method.buffers), abs=0.01)


@loops
def test_the_donated_weights_and_state_are_updated_in_place(method):
    memory = compiled_step(method.optimizer(SGD)).memory_analysis()
    # All but the scalars, of which a schedule or policy may recreate some.
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1024
    assert memory.alias_size_in_bytes >= 2 * 4 * SIZE


@loops
def test_a_step_has_no_transfers_to_the_host(method):
    program = compiled_step(method.optimizer(), 8).as_text()
    assert not re.search(r"infeed|outfeed|send\(|recv\(|callback", program)


def test_the_program_does_not_grow_with_k():
    method = METHODS["lookbehind_sam"]
    few, many = (len(compiled_step(method.optimizer(k=k), 8).as_text()) for k in (5, 20))
    assert many < 1.01 * few


def test_one_compilation_serves_every_step():
    tx = METHODS["ae_lookbehind_sam"].make()
    step = jax.jit(lambda w, state: tx.update(w, state, w, grad_fn=lambda p, i: p))
    w = jnp.ones(8)
    state = tx.init(w)
    for _ in range(4):
        w, state = step(w, state)
    assert step._cache_size() == 1
