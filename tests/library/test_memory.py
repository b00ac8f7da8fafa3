"""Memory of a training step: buffers, donation and size of the compiled program."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

import optax_lookbehind as ol

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


def buffers(tx):
    """Temporary buffers as large as the weights."""
    return compiled_step(tx).memory_analysis().temp_size_in_bytes / (4 * SIZE)


CHAINED = lambda tx: optax.chain(tx, optax.sgd(0.1, momentum=0.9))
# Buffers in addition to the weights and the momentum, which are donated.
SAM = ["perturbed weights"]
MULTISTEP = ["perturbed weights", "gradient"]
LOOKBEHIND = [*MULTISTEP, "displacement of the fast weights"]
ADAPTIVE = [*LOOKBEHIND, "first fast step"]
ASAM = [*LOOKBEHIND, "T of one leaf"]  # here the only leaf
TWO_GRADIENTS = [*SAM, "perturbed gradient"]
FILTERED = [*SAM, "direction of the ascent"]


METHODS = {
    "multistep": lambda k: CHAINED(ol.multistep_sam(k, 0.1)),
    "lookbehind": lambda k: CHAINED(ol.lookbehind_sam(k, 0.1, 0.5)),
    "lookbehind_adaptive": lambda k: CHAINED(ol.lookbehind_sam(k, 0.1, "adaptive")),
    "lookbehind_fast": lambda k: ol.lookbehind_sam(
        k, 0.1, 0.5, fast_optimizer=optax.sgd(0.1, momentum=0.9)
    ),
    "lookbehind_asam": lambda k: CHAINED(ol.lookbehind_asam(k, 0.5, 0.5)),
    "ae_lookbehind": lambda k: CHAINED(ol.ae_lookbehind_sam(k, 0.1, 0.5, 100)),
}


@pytest.mark.parametrize("name", METHODS)
def test_memory_does_not_grow_with_k(name):
    few, many = (
        compiled_step(METHODS[name](k)).memory_analysis().temp_size_in_bytes for k in (2, 50)
    )
    assert abs(many - few) <= 0.02 * few


def test_memory_of_a_plain_step_is_the_weights_and_the_momentum_alone():
    assert buffers(CHAINED(optax.identity())) == 0


@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="older compilers keep one buffer more")
@pytest.mark.parametrize(
    ("tx", "kept"),
    [
        (CHAINED(ol.sam(0.1)), SAM),
        (CHAINED(ol.gnp(0.1)), SAM),
        (CHAINED(ol.stable_sam(0.1)), SAM),
        (CHAINED(ol.saner(0.1)), SAM),
        (CHAINED(ol.sam_on(0.1, True)), SAM),
        (CHAINED(ol.gsam(0.1)), TWO_GRADIENTS),
        (CHAINED(ol.wsam(0.1)), TWO_GRADIENTS),
        (ol.wsam_decoupled(optax.sgd(0.1, momentum=0.9), 0.1, 0.1), TWO_GRADIENTS),
        (CHAINED(ol.friendly_sam(0.1)), FILTERED),
        (ol.momentum_sam(optax.sgd(0.1, momentum=0.9), 0.1), SAM),
        (METHODS["multistep"](5), MULTISTEP),
        (METHODS["lookbehind"](5), LOOKBEHIND),
        (METHODS["lookbehind_fast"](5), LOOKBEHIND),
        (METHODS["lookbehind_adaptive"](5), ADAPTIVE),
        (METHODS["lookbehind_asam"](5), ASAM),
        (METHODS["ae_lookbehind"](5), LOOKBEHIND),
    ],
)
def test_no_more_buffers_than_the_algorithm_needs(tx, kept):
    assert buffers(tx) == pytest.approx(len(kept), abs=0.01)


@pytest.mark.parametrize("name", METHODS)
def test_the_donated_weights_and_state_are_updated_in_place(name):
    memory = compiled_step(METHODS[name](3)).memory_analysis()
    # All but the scalars, of which a schedule or policy may recreate some.
    assert memory.alias_size_in_bytes >= 2 * 4 * SIZE
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1024


@pytest.mark.parametrize("name", METHODS)
def test_a_step_has_no_transfers_to_the_host(name):
    program = compiled_step(METHODS[name](2), 8).as_text()
    assert not re.search(r"infeed|outfeed|send\(|recv\(|callback", program)


def test_the_program_does_not_grow_with_k():
    few, many = (len(compiled_step(METHODS["lookbehind"](k), 8).as_text()) for k in (5, 20))
    assert many < 1.01 * few


def test_one_compilation_serves_every_step():
    tx = METHODS["ae_lookbehind"](3)
    step = jax.jit(lambda w, state: tx.update(w, state, w, grad_fn=lambda p, i: p))
    w = jnp.ones(8)
    state = tx.init(w)
    for _ in range(4):
        w, state = step(w, state)
    assert step._cache_size() == 1
