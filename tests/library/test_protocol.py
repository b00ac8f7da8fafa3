"""The protocol between policies and the transformations that they wrap."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic

WRAPPERS = {
    "adaptive_policy": lambda inner: ol.adaptive_policy(inner, 10),
    "periodic_policy": lambda inner: ol.periodic_policy(inner, 2),
    "random_policy": ol.random_policy,
    "reuse_direction": lambda inner: ol.reuse_direction(inner, 0.5),
}
every_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())


class ForeignState(NamedTuple):
    """A state that does not say whether its method is sharpness-aware."""

    count: jax.Array


def foreign_sam(rho, init=lambda params: ForeignState(jnp.zeros([], jnp.int32))):
    """SAM as somebody else would write it: it does not know ``sharpness_aware``."""

    def update(updates, state, params=None, *, grad_fn=None, **extra_args):
        e = optax.tree.scale(rho / optax.tree.norm(updates), updates)
        return grad_fn(optax.apply_updates(params, e), 0), state

    return optax.GradientTransformationExtraArgs(init, update)


@every_wrapper
@pytest.mark.parametrize("inner", [foreign_sam(0.1), optax.clip(1.0)])
def test_a_transformation_outside_the_protocol_raises_in_init(wrap, inner):
    with pytest.raises(ValueError, match=r"inner.*(ForeignState|EmptyState)"):
        wrap(inner).init(jnp.ones(2))


def test_a_method_that_takes_gradients_on_plain_steps_raises():
    # Its state comes from sam, so only the call gives it away.
    ignoring = foreign_sam(0.1, init=ol.sam(0.1).init)
    tx, w = ol.periodic_policy(ignoring, 2), jnp.ones(2)
    update = lambda state: tx.update(w, state, w, grad_fn=lambda p, i: p)
    error = r"inner called grad_fn.*sharpness_aware=False"
    with pytest.raises(ValueError, match=error):
        jax.eval_shape(update, tx.init(w))
    _, state = update(tx.init(w))  # eagerly the first plain step raises, the second one here
    with pytest.raises(ValueError, match=error):
        update(state)


@every_wrapper
@pytest.mark.parametrize(
    "around",
    [
        lambda tx: tx,
        lambda tx: optax.chain(tx, optax.clip(1.0)),
        lambda tx: optax.apply_if_finite(tx, 1),
    ],
    ids=["alone", "chained", "nested"],
)
def test_a_method_that_emits_the_final_update_raises_in_init(wrap, around):
    complete = ol.lookbehind_sam(2, 0.1, 0.5, fast_optimizer=optax.scale(-0.1))
    with pytest.raises(ValueError, match=r"LookbehindState.*optimizer"):
        wrap(around(complete)).init(jnp.ones(2))


class MyState(NamedTuple):
    """The state of a method of one's own."""

    steps: jax.Array

    @property
    def emits_gradient(self) -> bool:
        return True


def my_sam(rho):
    """SAM by the protocol, without this library's blocks."""

    def update(updates, state, params=None, *, grad_fn, sharpness_aware=True, **extra_args: Any):
        state = MyState(state.steps + 1)
        if not sharpness_aware:
            return updates, state
        e = optax.tree.scale(rho / optax.tree.norm(updates), updates)
        return grad_fn(optax.apply_updates(params, e), 0), state

    init = lambda params: MyState(jnp.zeros([], jnp.int32))
    return optax.GradientTransformationExtraArgs(init, update)


def test_a_method_by_the_protocol_works_in_every_policy(float64):
    matrix, w = map(jnp.asarray, quadratic())
    results = []
    for sam in (my_sam(0.1), ol.sam(0.1)):
        tx = ol.periodic_policy(ol.reuse_direction(sam, 0.5), 2)
        params, state = w, tx.init(w)
        for _ in range(4):
            grad_fn = lambda p, i: matrix @ p
            updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
            params = params - 0.1 * updates
        results.append(params)
        assert optax.tree.get(state, "applied") == 2
    np.testing.assert_allclose(*results, rtol=1e-12)
    assert optax.tree.get(tx.init(w), "steps") is None


def test_a_policy_applies_its_method_to_what_stands_in_front_of_it(float64):
    # The gradient that decided is not the one that the ascent follows, if a clip lies between.
    matrix, w = map(jnp.asarray, quadratic())
    clipped = optax.chain(optax.clip(0.1), ol.sam(0.3))
    tx = ol.periodic_policy(clipped, 1)
    grad_fn = lambda p, i: matrix @ p
    result, _ = tx.update(matrix @ w, tx.init(w), w, grad_fn=grad_fn)
    expected, _ = clipped.update(matrix @ w, clipped.init(w), w, grad_fn=grad_fn)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


class MeanGradient(NamedTuple):
    """A running mean of the plain gradients."""

    mean: Any


def away_from_the_mean(decay=0.5):
    """A filter in front of a rule: the gradient minus the mean of those before."""

    def update(updates, state, params=None):
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state.mean, updates)
        return optax.tree.sub(updates, state.mean), MeanGradient(mean)

    init = lambda params: MeanGradient(optax.tree.zeros_like(params))
    return optax.GradientTransformation(init, update)


STATEFUL = {
    "always": lambda rule, **o: ol.multistep(rule, **o),
    "multistep": lambda rule, **o: ol.multistep(rule, 3, average=True, **o),
    "lookbehind": lambda rule, **o: ol.lookbehind(rule, 2, 0.5, **o),
    "periodic": lambda rule, axis_name=None, **o: ol.periodic_policy(
        ol.multistep(rule, axis_name=axis_name, **o), 3, axis_name=axis_name
    ),
    "reuse": lambda rule, axis_name=None, **o: ol.periodic_policy(
        ol.reuse_direction(ol.multistep(rule, axis_name=axis_name, **o), 0.5, axis_name=axis_name),
        3,
        axis_name=axis_name,
    ),
}


@pytest.mark.parametrize("sync", [None, True, False])
@pytest.mark.parametrize("name", STATEFUL)
def test_the_state_of_a_rule_follows_the_plain_gradient_that_devices_share(name, sync, float64):
    options = {} if sync is None else {"axis_name": "data", "sync_perturbation": sync}
    rule = optax.chain(away_from_the_mean(), ol.sam_perturbation(0.1))
    tx = STATEFUL[name](rule, **options)
    matrix, w = map(jnp.asarray, quadratic())
    centres = jnp.asarray(np.random.default_rng(0).normal(size=(4, len(w))))  # one per device

    def step(w, state, centre):
        grad_fn = lambda p, i: matrix @ p - centre
        updates, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
        return w - 0.1 * updates, state

    if sync is None:
        train = lambda w, state: step(w, state, centres.mean(0))
    else:  # out_axes=None raises for a state that differs between the devices
        mapped = jax.vmap(step, in_axes=(None, None, 0), out_axes=None, axis_name="data")
        train = lambda w, state: mapped(w, state, centres)
    train = jax.jit(train)
    state, mean = tx.init(w), 0
    for _ in range(5):
        mean = 0.5 * mean + 0.5 * (matrix @ w - centres.mean(0))
        w, state = train(w, state)
        np.testing.assert_allclose(optax.tree.get(state, "mean"), mean, rtol=1e-12)
