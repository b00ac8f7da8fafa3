"""The authors' PyTorch implementation, step for step: its trajectories in float64."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optax_lookbehind import asam_perturbation, lookbehind, sam_perturbation

GOLDEN = json.loads(
    (pathlib.Path(__file__).parents[1] / "golden/lookbehind_official.json").read_text()
)


def describe(case):
    extras = [f"k{case['k']}", f"alpha{case['alpha']}", *case["opt_kw"]]
    return "-".join([case["cls"], *extras, *(["switch"] if case.get("switch") else [])])


def loss_fn(params, x, y):
    logits = jnp.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def perturbation_of(case):
    if case["cls"].endswith("ASAM"):
        weights_only = {"W1": True, "b1": False, "W2": True, "b2": False}
        return asam_perturbation(case["rho"], case["eta"], mask=weights_only)
    return sam_perturbation(case["rho"])


def alpha_of(case):
    return "adaptive_per_tensor" if case["alpha"] == -1 else case["alpha"]


def torch_sgd(lr, momentum=None, weight_decay=0.0):
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(lr, momentum))


def train(tx, case):
    """Runs the case's steps; returns the losses, the weights after the first step and the last."""
    params = {name: jnp.asarray(values) for name, values in GOLDEN["params"].items()}
    xs, ys = jnp.asarray(GOLDEN["X"]), jnp.asarray(GOLDEN["Y"])
    switch = case.get("switch", False)

    @jax.jit
    def step(params, state, t):
        def grad_fn(params, i):
            batch = (t * case["k"] + i if switch else t) % len(xs)
            return jax.grad(loss_fn)(params, xs[batch], ys[batch])

        first = (t * case["k"] if switch else t) % len(xs)
        loss = loss_fn(params, xs[first], ys[first])
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state, loss

    state, losses, after_first = tx.init(params), [], None
    for t in range(GOLDEN["steps"]):
        params, state, loss = step(params, state, t)
        losses.append(loss)
        after_first = params if after_first is None else after_first
    return np.array(losses), after_first, params


def assert_matches(case, result):
    losses, after_first, final = result
    np.testing.assert_allclose(losses, case["losses"], rtol=0, atol=1e-9)
    for name in final:
        np.testing.assert_allclose(after_first[name], case["after_first"][name], rtol=0, atol=1e-9)
        np.testing.assert_allclose(final[name], case["final"][name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=describe)
def test_fast_optimizer_follows_the_official_code(case, float64):
    tx = lookbehind(
        perturbation_of(case),
        case["k"],
        alpha_of(case),
        fast_optimizer=torch_sgd(**case["opt_kw"]),
        switch_minibatch=case.get("switch", False),
    )
    assert_matches(case, train(tx, case))


@pytest.mark.parametrize(
    "case", [c for c in GOLDEN["cases"] if set(c["opt_kw"]) == {"lr"}], ids=describe
)
def test_chained_before_plain_sgd_it_follows_the_official_code_too(case, float64):
    tx = optax.chain(
        lookbehind(perturbation_of(case), case["k"], alpha_of(case)),
        optax.sgd(case["opt_kw"]["lr"]),
    )
    assert_matches(case, train(tx, case))
