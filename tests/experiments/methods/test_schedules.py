"""The learning rate over a run, against closed forms; its progress where minibatches switch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configs import translation
from experiments.methods.optimizers import read_optimizer
from experiments.methods.schedules import read_schedule
from experiments.methods.table import method


def test_the_rate_steps_down_at_the_quarters(config):
    config.update(schedule="step", learning_rate=0.1)
    rate = read_schedule(config)(200)
    rates = [rate(step).item() for step in (0, 49, 50, 99, 100, 149, 150)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4], rtol=1e-5)


def test_the_rate_falls_as_a_cosine(config):
    config.update(schedule="cosine", learning_rate=0.1)
    counts = jnp.arange(0, 21, 5)  # two calls of the optimizer in each of ten steps
    rate = read_schedule(config)(10, inner_steps=2)
    expected = 0.05 * (1 + np.cos(np.pi * (np.arange(0, 21, 5) // 2) / 10))
    np.testing.assert_allclose([rate(count).item() for count in counts], expected, atol=1e-8)


def test_the_rate_restarts_and_is_constant_within_an_epoch(config):
    config.update(schedule="cosine_restarts", learning_rate=1e-3, epochs=7, restart_epochs=5)
    rate = read_schedule(config)(7 * 4, inner_steps=2)
    rates = np.array([float(rate(count)) for count in range(7 * 4 * 2)]).reshape(7, 8)
    cycle = [1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * e / 5)) / 2 for e in range(5)]
    expected = np.array([*cycle, *cycle[:2]])
    np.testing.assert_allclose(rates, np.repeat(expected[:, None], 8, 1), rtol=1e-5)


def test_an_unknown_name_lists_the_valid_ones(config):
    config.schedule = "linear"
    with pytest.raises(ValueError, match="unknown schedule 'linear'; valid ones: constant, "):
        read_schedule(config)


def fairseq_inverse_sqrt(step, peak, warmup):
    """As InverseSquareRootSchedule.step_update, which is called with the number of updates done."""
    if step < warmup:
        return step * peak / warmup
    return peak * warmup**0.5 * step**-0.5


def test_inverse_sqrt_is_the_schedule_of_fairseq():
    config = translation.get_config("iwslt14")
    rate = read_schedule(config)(50_000)
    for step in (0, 1, 2000, 3999, 4000, 4001, 16_000, 49_999):
        expected = fairseq_inverse_sqrt(step, 5e-4, 4000)
        assert float(rate(jnp.int32(step))) == pytest.approx(expected, rel=1e-5)


def test_warmup_multiplies_any_schedule_with_a_line():
    config = translation.get_config()
    config.update(warmup_steps=10, learning_rate=1.0, schedule="cosine")
    cosine = optax.cosine_decay_schedule(1.0, 100)
    for step in (0, 3, 10, 60):
        expected = cosine(step) * min(step / 10, 1)
        assert float(read_schedule(config)(100)(step)) == pytest.approx(float(expected))


def counts(text, steps):
    """The count of the schedule after some training steps."""
    config = translation.get_config()
    tx = optax.with_extra_args_support(method(text).build(read_optimizer(config), 10))
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
