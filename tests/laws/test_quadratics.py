"""Every method on quadratic losses: trajectories in matrix form, the bounce and the edge."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from optax_lookbehind import sharpness
from tests.laws import quadratics as q
from tests.laws.methods import ETA, LAWS, RHO, STEPS
from tests.support.methods import METHODS

pytestmark = pytest.mark.usefixtures("float64")
WITH_TRAJECTORY = {name: law for name, law in LAWS.items() if law.trajectory}
WITH_RESPONSE = {name: law for name, law in LAWS.items() if law.response and name != "usam"}


def test_every_method_has_a_law_or_the_reason_why_not():
    aliases = {row.alias for row in METHODS.values()} - {"multistep"}
    assert {name.split(",")[0] for name in LAWS} == aliases
    assert all(law.response or law.why_no_edge for law in LAWS.values())


@pytest.mark.parametrize("name", WITH_TRAJECTORY)
def test_the_trajectory_is_that_of_the_matrix_form(name):
    law, (h, _) = LAWS[name], q.hessian(q.SADDLE)
    eta = ETA / 3 if "lookbehind" in name or name == "wsam" else ETA
    weights, _ = q.run(law.make(eta), h, q.start(), STEPS)
    expected = law.trajectory(eta)(h, q.start(), STEPS)
    scale = np.linalg.norm(expected, axis=1).max()
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-12 * scale)


def test_random_steps_of_ss_sam_are_sams_and_the_others_are_plain():
    h, _ = q.hessian(q.SADDLE)
    weights, state = q.run(LAWS["ss_sam"].make(ETA), h, q.start(), STEPS)
    w, applied = q.start(), 0
    for after in weights:
        g = h @ w
        (sharp,) = q.ascent(h, g, RHO)
        emitted = (w - after) / ETA
        is_sharp = np.abs(emitted - sharp).max() < np.abs(emitted - g).max()
        np.testing.assert_allclose(emitted, sharp if is_sharp else g, rtol=0, atol=1e-12)
        applied, w = applied + is_sharp, after
    assert applied == optax.tree.get(state, "applied")
    assert 0 < applied < STEPS


def test_the_masks_of_esam_leave_the_mean_perturbation_that_of_sam():
    h, _ = q.hessian(q.BOWL)
    tx, params = ol.esam(RHO), q.unflatten(jnp.asarray(q.start()))
    g = q.unflatten(jnp.asarray(h @ q.start()))
    state, perturbations = tx.init(params), []
    for _ in range(400):
        # The emitted gradient is the perturbed weights themselves.
        perturbed, state = tx.update(g, state, params, grad_fn=lambda p, i: p)
        perturbations.append(np.asarray(q.flatten(perturbed)) - q.start())
    e = RHO * np.asarray(q.flatten(g)) / np.linalg.norm(q.flatten(g))
    factors = np.array(perturbations) / e
    np.testing.assert_allclose(np.unique(np.round(factors, 9)), [0, np.round(1 / 0.6, 9)])
    standard_error = np.sqrt(0.4 / 0.6 / 400)
    assert np.abs(factors.mean(axis=0) - 1).max() < 4 * standard_error


def along_the_top(h, basis, tx, steps=4000):
    """The displacement along the top eigenvector after training, and the rest of the weights."""
    weights, _ = q.run(tx, h, q.start(), steps, every=steps)
    components = basis.T @ weights[-1]
    return abs(components[-1]), np.linalg.norm(components[:-1])


@pytest.mark.parametrize("name", WITH_RESPONSE)
def test_the_bounce_has_the_amplitude_of_the_edge(name):
    # Below eta c l = 2 a method that divides by the norm of its gradient neither converges nor
    # diverges on a quadratic: it ends on w, -w, w, ... along the top eigenvector, where
    # eta R(l) = 2, that is |w| = eta d rho l / (2 - eta c l).
    law, (h, basis) = LAWS[name], q.hessian(q.BOWL)
    (c, d), top = law.response, q.BOWL[-1]
    eta = ETA / max(c, 1)
    amplitude, rest = along_the_top(h, basis, law.make(eta))
    # The norm that d goes with is that of the filtered gradient.
    np.testing.assert_allclose(
        amplitude, eta * (d / law.filter) * RHO * top / (2 - eta * c * top), rtol=1e-10
    )
    np.testing.assert_allclose(rest, 0, atol=1e-10)
    # The public formula, from the gradient norm of the bounce, returns the curvature of the bowl.
    settings = {"rho": RHO, "gradient_norm": law.filter * top * amplitude}
    edge = sharpness.edge(c, d, learning_rate=eta, **settings)
    np.testing.assert_allclose(edge, top, rtol=1e-10)
    np.testing.assert_allclose(eta * sharpness.response(top, c, d, **settings), 2, rtol=1e-10)


def test_the_bounce_of_momentum_sam():
    # |v| = l rho / (1 + beta - eta l / 2); w itself moves by eta |v| / 2 around the minimum.
    (h, basis), top, beta = q.hessian(q.BOWL), q.BOWL[-1], 0.5
    tx = ol.momentum_sam(optax.sgd(ETA, beta), RHO)
    weights, state = q.run(tx, h, q.start(), 4000, every=4000)
    v = q.flatten(optax.tree.get(state, "trace"))
    np.testing.assert_allclose(
        np.linalg.norm(v), top * RHO / (1 + beta - ETA * top / 2), rtol=1e-10
    )
    w = q.flatten(ol.momentum_sam_eval_params(state, q.unflatten(jnp.asarray(weights[-1]))))
    np.testing.assert_allclose(np.linalg.norm(w), ETA * np.linalg.norm(v) / 2, rtol=1e-10)
    np.testing.assert_allclose(abs(basis[:, -1] @ w), np.linalg.norm(w), rtol=1e-10)


def test_the_bounce_of_periodic_sam():
    # Plain steps shrink the mode by 1 - a, a = eta l: before the sharp step of every n,
    # |w| = a (1 - a)^(n - 1) rho / (1 + (1 - a)^n).
    (h, basis), top, n = q.hessian(q.BOWL), q.BOWL[-1], 2
    amplitude, _ = along_the_top(
        h, basis, optax.chain(periodic(ol.sam_perturbation, n), optax.sgd(ETA))
    )
    a = ETA * top
    np.testing.assert_allclose(
        amplitude, a * (1 - a) ** (n - 1) * RHO / (1 + (1 - a) ** n), rtol=1e-10
    )


def periodic(rule, n, rho=RHO):
    return ol.multistep(rule(rho), policy=ol.periodic_policy(n))


def usam_rule(rho):
    return optax.scale(rho)


TOP, STEEP = q.BOWL[-1], RHO * q.BOWL[-1]
# Rates at which eta R(l) = 2 where no gradient norm is in R: there the edge is a threshold.
EDGES = {
    "sgd": (optax.sgd, 2 / TOP),
    "momentum": (lambda eta: optax.sgd(eta, 0.9), 2 * 1.9 / TOP),
    "nesterov": (lambda eta: optax.sgd(eta, 0.9, nesterov=True), 2 * 1.9 / (2.8 * TOP)),
    "weight decay": (
        lambda eta: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(eta)),
        2 / (TOP + 0.1),
    ),
    "usam": (lambda eta: optax.chain(ol.usam(RHO), optax.sgd(eta)), 2 / (TOP * (1 + STEEP))),
    "multistep with usam's rule": (
        lambda eta: optax.chain(ol.multistep(usam_rule(RHO), 3), optax.sgd(eta)),
        2 / (TOP * (1 + STEEP) ** 3),
    ),
    "lookbehind with usam's rule": (
        lambda eta: optax.chain(ol.lookbehind(usam_rule(RHO), 3, 0.5), optax.sgd(eta)),
        2 / (TOP * 0.5 * sum((1 + STEEP) ** j for j in (1, 2, 3))),
    ),
    "gnp with usam's rule": (
        lambda eta: optax.chain(
            ol.multistep(usam_rule(RHO), combine=ol.weighted(0.8)), optax.sgd(eta)
        ),
        2 / (TOP * (1 + 0.8 * STEEP)),
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_edge_is_the_threshold_of_divergence(name):
    make, eta = EDGES[name]
    h, _ = q.hessian(q.BOWL)
    norms = {
        factor: np.linalg.norm(q.run(make(factor * eta), h, q.start(), 2000, every=2000)[0])
        for factor in (0.99, 1.01)
    }
    assert norms[0.99] < 1e-2
    assert norms[1.01] > 1e2


@pytest.mark.parametrize("n", [2, 3])
def test_the_edge_of_a_policy_is_that_of_the_product_of_its_steps(n):
    # |(1 - eta R) (1 - eta l)^(n - 1)| = 1.
    (h, _), rho = q.hessian(q.BOWL), 0.3
    r = TOP * (1 + rho * TOP)
    product = lambda eta: abs((1 - eta * r) * (1 - eta * TOP) ** (n - 1))
    rates = np.linspace(1.05, 1.95, 19) / TOP
    stable = max(eta for eta in rates if product(eta) < 0.98)
    unstable = min(eta for eta in rates if product(eta) > 1.02)
    norms = []
    for eta in (stable, unstable):
        tx = optax.chain(periodic(usam_rule, n, rho), optax.sgd(eta))
        norms.append(np.linalg.norm(q.run(tx, h, q.start(), 1200, every=1200)[0]))
    assert norms[0] < 1e-3
    assert norms[1] > 1e3
    # The mean of the responses would have called the stable rate unstable.
    assert stable * (r + (n - 1) * TOP) / n > 2


def test_momentum_inside_lookbehind_oscillates_before_it_would_bounce():
    # eta alpha l sum_j u_j F_j = 1 - beta^k: a complex pair of eigenvalues leaves the circle.
    (h, _), k, alpha, beta = q.hessian(q.BOWL), 3, 0.5, 0.9
    a = sum(beta**i for i in range(1, k + 1))
    u = [
        a * beta ** (k - j) - beta**k * (1 - beta ** (k - j + 1)) / (1 - beta)
        for j in range(1, k + 1)
    ]
    factors = [(1 + STEEP) ** j for j in range(1, k + 1)]
    eta = (1 - beta**k) / (alpha * TOP * np.dot(u, factors))
    behind = 2 * (1 + beta) / (alpha * TOP * sum(factors))
    assert eta < behind / 5
    for factor, converges in ((0.97, True), (1.03, False)):
        fast = optax.sgd(factor * eta, momentum=beta)
        tx = ol.lookbehind(usam_rule(RHO), k, alpha, fast_optimizer=fast)
        weights, _ = q.run(tx, h, q.start(), 3000, every=3000)
        assert (np.linalg.norm(weights[-1]) < 0.1) == converges


@pytest.mark.parametrize("curvatures", [np.geomspace(0.01, 2, 12), np.linspace(-2, 2, 12)])
@pytest.mark.parametrize("eta", [0.05, 0.2, 0.45])
def test_a_step_of_ae_usam_lowers_the_loss_as_the_theorem_says(curvatures, eta):
    # The step of Theorem A.4 of AE-SAM, for full batches and the rule of its proof, w + rho g:
    # L_t - L_(t+1) >= eta (1 - beta eta / 2 - beta rho xi_t) |g_t|^2, xi_t = 1 on sharp steps.
    (h, _), rho, beta, steps = q.hessian(curvatures), 0.24, 2.0, 100
    tx = optax.chain(adaptive(usam_rule(rho), steps), optax.sgd(eta))
    weights, state = q.run(tx, h, q.start(), steps)
    weights = np.concatenate([[q.start()], weights])
    g = weights @ h
    losses = np.einsum("ti,ti->t", weights, g) / 2
    emitted = (weights[:-1] - weights[1:]) / eta
    sharp = np.abs(emitted - g[:-1]).max(axis=1) > 1e-12 * np.abs(g[:-1]).max(axis=1)
    assert sharp.sum() == optax.tree.get(state, "applied") > 0
    guaranteed = eta * (1 - beta * eta / 2 - beta * rho * sharp) * np.sum(g[:-1] ** 2, axis=1)
    assert np.all(losses[:-1] - losses[1:] >= guaranteed - 1e-14 * abs(losses).max())


def adaptive(rule, steps):
    return ol.multistep(rule, policy=ol.adaptive_policy(steps))
