"""Schedules, optimizers, smoothing and the switch of methods, against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.methods import optimizers
from experiments.methods.optimizers import optimizer
from experiments.methods.schedules import learning_rate
from experiments.methods.table import method
from experiments.parallel.mesh import make_mesh
from experiments.tasks.classification import cross_entropy
from experiments.training import method_switch as switch
from experiments.training.loop import train
from experiments.training.setup import make_run
from tests.support.training import first_batches, start

W = jnp.array([1.0, -2.0])


def test_the_rate_steps_down_at_the_quarters(config):
    config.update(schedule="step", learning_rate=0.1)
    rates = [learning_rate(config, 200)(step).item() for step in (0, 49, 50, 99, 100, 149, 150)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4], rtol=1e-5)


def test_the_rate_falls_as_a_cosine(config):
    config.update(schedule="cosine", learning_rate=0.1)
    counts = jnp.arange(0, 21, 5)  # two calls of the optimizer in each of ten steps
    rates = [learning_rate(config, 10, inner_steps=2)(count).item() for count in counts]
    expected = 0.05 * (1 + np.cos(np.pi * (np.arange(0, 21, 5) // 2) / 10))
    np.testing.assert_allclose(rates, expected, atol=1e-8)


def test_the_rate_restarts_and_is_constant_within_an_epoch(config):
    config.update(schedule="cosine_restarts", learning_rate=1e-3, epochs=7, restart_epochs=5)
    rate = learning_rate(config, 7 * 4, inner_steps=2)
    rates = np.array([float(rate(count)) for count in range(7 * 4 * 2)]).reshape(7, 8)
    cycle = [1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * e / 5)) / 2 for e in range(5)]
    expected = np.array([*cycle, *cycle[:2]])
    np.testing.assert_allclose(rates, np.repeat(expected[:, None], 8, 1), rtol=1e-5)


def moved(config, grads):
    """The weights after steps along the gradients."""
    tx, params = optimizer(config, 1000), W
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


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weight_decay_can_leave_out_biases_and_scales(config, name):
    config.update(optimizer=name, learning_rate=0.1, weight_decay=0.5, decay_biases=False)
    params = {"norm": {"scale": W, "bias": W}, "head": {"kernel": W, "bias": W}}
    tx = optimizer(config, 1000)
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
    tx = optax.with_extra_args_support(chosen.build(config, 10))
    grad_fn = jax.grad(lambda w, i: (w**4).sum() / 4)
    state = tx.init(W)
    updates, state = tx.update(grad_fn(W, 0), state, W, grad_fn=grad_fn)
    assert (updates * W < 0).all()  # downhill
    kept = optax.tree.get_all_with_path(state, "count")
    calls = {int(v) for p, v in kept if getattr(p[-1], "tuple_name", "") == "ScaleByScheduleState"}
    assert calls == {2 if inside else 1} == {chosen.optimizer_calls}


@pytest.mark.parametrize("name", ["lookbehind_sam", "multistep_asam"])
def test_rho_over_k_divides_rho(config, name):
    def update(arguments):
        tx = optax.with_extra_args_support(method(f"{name}:k=4,{arguments}").build(config, 10))
        grad_fn = jax.grad(lambda w, i: (w**4).sum() / 4)
        return tx.update(grad_fn(W, 0), tx.init(W), W, grad_fn=grad_fn)[0]

    divided = update("rho=0.2,rho_over_k=true")
    np.testing.assert_array_equal(divided, update("rho=0.05"))


def test_labels_are_smoothed_in_training_only(config):
    logits, labels = jnp.array([[2.0, 1.0, 0.0]]), jnp.array([1])
    log_p = jax.nn.log_softmax(logits[0])
    expected = -(0.9 * log_p[1] + 0.1 * log_p.mean())
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.1)[0], expected, rtol=1e-6)

    config.model = "dense"
    losses = {}
    for smoothing in (0.0, 0.1):
        config.label_smoothing = smoothing
        trainer, pipeline, state = start(config)
        (test_set,) = pipeline.evaluation["test"]()
        tested = trainer.evaluate(state, test_set)["loss"]
        _, metrics = trainer.step(state, *first_batches(pipeline, 1))
        losses[smoothing] = (metrics["loss"], tested)
    assert losses[0.0][0] != losses[0.1][0]
    assert losses[0.0][1] == losses[0.1][1]


def run(config, methods):
    """The state after one epoch of each of the methods."""
    config.update(epochs=len(methods), method=methods[0])
    config.switch = tuple(enumerate(methods))[1:]
    trainers, pipeline = make_run(config, make_mesh(1))
    state, _ = train(trainers, pipeline, trainers[0].init(jax.random.key(0)))
    return state


def test_a_switch_between_equal_methods_changes_nothing(config):
    # Lookbehind with k = 1 and alpha = 1 is SAM: here with the optimizer inside, there behind.
    config.update(model="dense", epochs=4, train_examples=256)
    sam, lookbehind = "sam:rho=0.1", "lookbehind_sam:k=1,rho=0.1,alpha=1"
    stayed = run(config, [sam] * 4)
    switched = run(config, [sam, lookbehind, sam, "multistep_sam:k=1,rho=0.1"])
    for kept in ("params", "batch_stats"):
        pairs = zip(*(jax.tree.leaves(getattr(s, kept)) for s in (stayed, switched)), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_schedules_go_on_after_a_switch(config):
    config.update(model="dense", epochs=2, train_examples=256, batch_size=128)
    state = run(config, ["ae_sam", "lookbehind_sam:k=3"])
    (count,) = (
        value
        for path, value in optax.tree.get_all_with_path(state.opt_state, "count")
        if getattr(path[-1], "tuple_name", "") == "ScaleByScheduleState"
    )
    assert count == 3 * 4  # three calls in each of four steps


def test_the_methods_of_the_epochs(config):
    config.update(method="sam", epochs=4, switch=((1, "lookbehind_sam:rho=0.05,k=5"), (3, "sam")))
    expected = ["sam", "lookbehind_sam:k=5", "lookbehind_sam:k=5", "sam"]
    assert switch.methods_by_epoch(config) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        ((0, "sam"),),
        ((4, "sam"),),
        ((2, "sam"), (1, "sgd")),
        ((1, 2),),
        (1, "sam"),
        ((True, "sam"),),
    ],
)
def test_an_invalid_switch_raises(config, wrong):
    config.update(epochs=4, switch=wrong)
    with pytest.raises(ValueError, match="switch must be pairs"):
        switch.methods_by_epoch(config)


@pytest.mark.parametrize("key", ["schedule", "optimizer"])
def test_an_unknown_name_lists_the_valid_ones(config, key):
    config[key] = "linear"
    with pytest.raises(ValueError, match=f"unknown {key} 'linear'; valid ones: "):
        optimizer(config, 10)
