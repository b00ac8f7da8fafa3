"""The learning rate of fairseq's recipe, and its progress where minibatches are switched."""

import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.configs import translation
from experiments.methods.schedules import learning_rate
from experiments.methods.table import method


def fairseq_inverse_sqrt(step, peak, warmup):
    """As InverseSquareRootSchedule.step_update, which is called with the number of updates done."""
    if step < warmup:
        return step * peak / warmup
    return peak * warmup**0.5 * step**-0.5


def test_inverse_sqrt_is_the_schedule_of_fairseq():
    config = translation.get_config("iwslt14")
    rate = learning_rate(config, 50_000)
    for step in (0, 1, 2000, 3999, 4000, 4001, 16_000, 49_999):
        expected = fairseq_inverse_sqrt(step, 5e-4, 4000)
        assert float(rate(jnp.int32(step))) == pytest.approx(expected, rel=1e-5)


def test_warmup_multiplies_any_schedule_with_a_line():
    config = translation.get_config()
    config.update(warmup_steps=10, learning_rate=1.0, schedule="cosine")
    cosine = optax.cosine_decay_schedule(1.0, 100)
    for step in (0, 3, 10, 60):
        expected = cosine(step) * min(step / 10, 1)
        assert float(learning_rate(config, 100)(step)) == pytest.approx(float(expected))


def counts(text, steps):
    """The count of the schedule after some training steps."""
    config = translation.get_config()
    tx = optax.with_extra_args_support(method(text).build(config, 10))
    params = {"w": jnp.ones(2)}
    grads = jax.tree.map(jnp.ones_like, params)
    state = tx.init(params)
    for _ in range(steps):
        _, state = tx.update(grads, state, params, grad_fn=lambda params, i: params)
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.ScaleByScheduleState))
    (count,) = (x.count for x in leaves if isinstance(x, optax.ScaleByScheduleState))
    return int(count)


def test_the_schedule_advances_once_per_minibatch():
    """At equal minibatches the rate of Lookbehind is that of SAM."""
    switched = "lookbehind_sam:k=2,alpha=0.8,switch_minibatch=true"
    assert counts(switched, 3) == counts("sam", 6) == 6
