"""The base optimizers against PyTorch's update rules, and their place in Lookbehind."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.methods import optimizers
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method

W = jnp.array([1.0, -2.0])


def moved(config, grads):
    """The weights after steps along the gradients."""
    tx, params = read_optimizer(config).build(1000), W
    state = tx.init(params)
    for grad in grads:
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_adam_decays_weights_as_pytorchs(config):
    config.update(optimizer="adam", learning_rate=0.1, weight_decay=0.01)
    g = jnp.array([0.3, 0.1])
    decayed = g + 0.01 * W
    np.testing.assert_allclose(moved(config, [g]), W - 0.1 * jnp.sign(decayed), rtol=1e-5)


def test_adamw_decays_weights_beside_the_gradient(config):
    config.update(optimizer="adamw", learning_rate=0.1, weight_decay=0.01)
    g = jnp.array([0.3, 0.1])
    np.testing.assert_allclose(moved(config, [g]), W - 0.1 * (jnp.sign(g) + 0.01 * W), rtol=1e-5)


def test_the_gradient_is_clipped_in_front(config):
    config.update(learning_rate=1.0, momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    g = jnp.array([3.0, 4.0])
    np.testing.assert_allclose(moved(config, [g]), W - g / 5, rtol=1e-6)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weight_decay_can_leave_out_biases_and_scales(config, name):
    config.update(optimizer=name, learning_rate=0.1, weight_decay=0.5, decay_biases=False)
    params = {"norm": {"scale": W, "bias": W}, "head": {"kernel": W, "bias": W}}
    tx = read_optimizer(config).build(1000)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    decayed = jax.tree.map(lambda u: bool((u * W < 0).all()), updates)
    assert decayed == {
        "norm": {"scale": False, "bias": False},
        "head": {"kernel": True, "bias": False},
    }


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
@pytest.mark.parametrize("inside", [True, False])
def test_lookbehind_has_the_optimizer_inside_or_behind(config, name, inside):
    config.optimizer = name
    chosen = method(f"lookbehind_sam:k=2,alpha=0.5,fast_optimizer={inside}")
    tx = optax.with_extra_args_support(chosen.build(read_optimizer(config), 10))
    grad_fn = jax.grad(lambda w, i: (w**4).sum() / 4)
    state = tx.init(W)
    updates, state = tx.update(grad_fn(W, 0), state, W, grad_fn=grad_fn)
    assert (updates * W < 0).all()  # downhill
    kept = optax.tree.get_all_with_path(state, "count")
    calls = {int(v) for p, v in kept if getattr(p[-1], "tuple_name", "") == "ScaleByScheduleState"}
    assert calls == {2 if inside else 1} == {chosen.optimizer_calls}


def test_an_unknown_name_lists_the_valid_ones(config):
    config.optimizer = "linear"
    with pytest.raises(ValueError, match="unknown optimizer 'linear'; valid ones: adam, adamw, "):
        read_optimizer(config)
