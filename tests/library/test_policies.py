"""Weights and decisions under every policy against NumPy, step by step in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic

RHO, LR, STEPS = 0.3, 0.05, 60


def noisy_gradients(seed=0):
    """``(t, w) -> A w + n_t`` for jax and NumPy: gradients that rise and fall from step to step."""
    matrix, w = quadratic(seed=seed)
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(STEPS, len(w))) * rng.exponential(size=(STEPS, 1))
    return (lambda t, w: matrix @ w + noise[t]), (jnp.asarray(matrix), jnp.asarray(noise)), w


def train(tx, problem, w):
    """Weights after each step, which steps used SAM, and the state, with ``tx`` before SGD."""
    matrix, noise = problem
    tx = optax.chain(tx, optax.sgd(LR))

    @jax.jit
    def step(w, state, t):
        grad_fn = lambda p, i: matrix @ p + noise[t]
        updates, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
        return optax.apply_updates(w, updates), state

    w = jnp.asarray(w)
    state, weights, applied = tx.init(w), [], []
    for t in range(STEPS):
        w, state = step(w, state, t)
        weights.append(w)
        applied.append(optax.tree.get(state, "applied", default=0))
    return np.array(weights), np.diff(applied, prepend=0), state


class AdaptiveInNumPy:
    """AE's decision, equation by equation."""

    def __init__(self, lambda_1, lambda_2, decay, total_steps):
        self.lambda_1, self.lambda_2, self.d, self.total = lambda_1, lambda_2, decay, total_steps
        self.mu, self.var, self.t, self.threshold = 0.0, np.exp(-10), 0, 0.0

    def __call__(self, g):
        s = g @ g
        self.mu = self.d * self.mu + (1 - self.d) * s
        self.var = self.d * self.var + (1 - self.d) * (s - self.mu) ** 2
        c = self.t / self.total * self.lambda_1 + (1 - self.t / self.total) * self.lambda_2
        self.t += 1
        self.threshold = self.mu + c * np.sqrt(self.var)
        return s >= self.threshold


class PeriodicInNumPy:
    def __init__(self, period):
        self.period, self.t = period, -1

    def __call__(self, g):
        self.t += 1
        return self.t % self.period == 0


def sam_in_numpy(gradient, t, w, g):
    return gradient(t, w + RHO * g / np.linalg.norm(g))


def reference(gradient, w, decide, reuse=None, sharp=sam_in_numpy):
    """The same training in NumPy."""
    weights, uses, v = [], [], None
    for t in range(STEPS):
        g = gradient(t, w)
        use = bool(decide(g))
        if use:
            out = sharp(gradient, t, w, g)
            v = out - (out @ g) / (g @ g) * g
        elif reuse is not None and v is not None:
            out = g + reuse * np.linalg.norm(g) / np.linalg.norm(v) * v
        else:
            out = g
        w = w - LR * out
        weights.append(w)
        uses.append(use)
    return np.array(weights), np.array(uses)


def assert_same(result, expected):
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_allclose(result[0], expected[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("lambda_1", "lambda_2", "decay"), [(-1, 1, 0.9), (0, 2, 0.9), (-0.5, 0.2, 0.5), (1, -1, 0.0)]
)
def test_ae_sam_follows_the_paper(lambda_1, lambda_2, decay, seed, float64):
    gradient, problem, w = noisy_gradients(seed)
    result = train(ol.ae_sam(RHO, STEPS, lambda_1, lambda_2, decay), problem, w)
    decide = AdaptiveInNumPy(lambda_1, lambda_2, decay, STEPS)
    expected = reference(gradient, w, decide)
    assert_same(result, expected)
    if decay:
        assert 0 < expected[1].sum() < STEPS
        for name in ("mu", "var", "threshold"):
            kept, expected = optax.tree.get(result[2], name), getattr(decide, name)
            np.testing.assert_allclose(kept, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ae_looksam_reuses_the_sharp_direction(seed, float64):
    gradient, problem, w = noisy_gradients(seed)
    result = train(ol.ae_looksam(RHO, 0.6, STEPS), problem, w)
    expected = reference(gradient, w, AdaptiveInNumPy(0, 2, 0.9, STEPS), reuse=0.6)
    assert_same(result, expected)
    assert 0 < expected[1].sum() < STEPS


@pytest.mark.parametrize("period", [2, 5])
def test_looksam_uses_sam_periodically(period, float64):
    gradient, problem, w = noisy_gradients()
    result = train(ol.looksam(RHO, 0.3, period), problem, w)
    assert_same(result, reference(gradient, w, PeriodicInNumPy(period), reuse=0.3))


def test_without_a_direction_yet_the_plain_gradient_is_emitted(float64):
    # lambda so high that the first steps, from mu = 0 on, do without SAM.
    gradient, problem, w = noisy_gradients()
    result = train(ol.ae_looksam(RHO, 0.5, STEPS, lambda_1=0.0, lambda_2=4.0), problem, w)
    expected = reference(gradient, w, AdaptiveInNumPy(0.0, 4.0, 0.9, STEPS), reuse=0.5)
    assert not expected[1][0]
    assert expected[1].any()
    assert_same(result, expected)


def test_a_policy_applies_any_rule(float64):
    gradient, problem, w = noisy_gradients()

    def asam(gradient, t, w, g):
        scale = np.abs(w) + 0.01
        return gradient(t, w + RHO * scale**2 * g / np.linalg.norm(scale * g))

    tx = ol.multistep(ol.asam_perturbation(RHO), policy=ol.adaptive_policy(STEPS))
    result = train(tx, problem, w)
    assert_same(result, reference(gradient, w, AdaptiveInNumPy(-1, 1, 0.9, STEPS), sharp=asam))


def test_random_policy_draws_its_share(float64):
    gradient, problem, w = noisy_gradients()
    weights, uses, _ = train(ol.ss_sam(RHO, 0.3, key=4), problem, w)
    draws = iter(uses)
    assert_same((weights, uses), reference(gradient, w, lambda g: next(draws)))
    assert 0.1 * STEPS < uses.sum() < 0.6 * STEPS
    again = train(ol.ss_sam(RHO, 0.3, key=jax.random.key(4)), problem, w)[1]
    np.testing.assert_array_equal(uses, again)
    assert (train(ol.ss_sam(RHO, 0.3, key=5), problem, w)[1] != uses).any()


@pytest.mark.parametrize("alpha", [0.4, "adaptive"])
def test_ae_lookbehind_takes_plain_steps_as_long_as_lookbehinds(alpha, float64):
    k = 3
    gradient, problem, w = noisy_gradients()
    result = train(ol.ae_lookbehind_sam(k, RHO, alpha, STEPS), problem, w)
    decide = AdaptiveInNumPy(-1, 1, 0.9, STEPS)
    used, uses = None, []
    for t in range(STEPS):
        g = gradient(t, w)
        uses.append(bool(decide(g)))
        if uses[-1]:
            at, latest, total, first = w, g, 0.0, None
            for _ in range(k):
                at = at + RHO * latest / np.linalg.norm(latest)
                latest = gradient(t, at)
                total = total + latest
                first = latest if first is None else first
            cosine = first @ total / np.linalg.norm(first) / np.linalg.norm(total)
            used = (cosine + 1) / 2 if alpha == "adaptive" else alpha
            out = used * total
        else:
            out = k * (1.0 if used is None else used) * g
        w = w - LR * out
        np.testing.assert_allclose(result[0][t], w, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(result[1], uses)
    assert 0 < sum(uses) < STEPS


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # On w = 1 with gradient w the emitted gradient is 1 + rho; rho grows by 1 a step.
        (
            lambda: ol.multistep(
                ol.sam_perturbation(lambda t: 1.0 + t), policy=ol.periodic_policy(3)
            ),
            [2, 1, 1, 5, 1, 1, 8],
        ),
        # rho negligible: the emitted gradient is alpha, also on plain steps.
        (
            lambda: ol.lookbehind(
                ol.sam_perturbation(1e-9),
                1,
                lambda t: 0.1 * (1 + t),
                policy=ol.periodic_policy(3),
            ),
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        ),
    ],
)
def test_schedules_inside_a_policy_count_training_steps(make, expected, float64):
    tx, w, emitted = make(), jnp.ones(1), []
    state = tx.init(w)
    for _ in expected:
        updates, state = tx.update(w, state, w, grad_fn=lambda p, i: p)
        emitted.append(updates[0])
    np.testing.assert_allclose(emitted, expected, rtol=1e-6)


@pytest.mark.parametrize("threshold", [-jnp.inf, jnp.inf])
def test_infinite_lambdas_give_an_infinite_threshold_and_finite_statistics(threshold):
    tx, w = ol.ae_sam(RHO, STEPS, threshold, threshold), jnp.ones(2, jnp.bfloat16)
    start = tx.init(w)
    assert start.policy_state.decision_state.threshold == 0
    _, state = tx.update(w, start, w, grad_fn=lambda p, i: p)
    statistics = state.policy_state.decision_state
    assert statistics.threshold == threshold
    assert statistics.threshold.dtype == jnp.float32
    assert np.isfinite([statistics.mu, statistics.var]).all()


def test_the_adaptive_policy_recovers_from_a_non_finite_gradient():
    tx, w = ol.ae_sam(0.1, 1000, -0.5, -0.5), jnp.ones(2)
    state = tx.init(w)
    for t in range(20):
        g = w * (jnp.nan if t == 3 else 1.0 + t % 2)
        updates, state = tx.update(g, state, w, grad_fn=lambda p, i: g)
        assert np.isnan(updates).any() == (t == 3)
        assert np.isfinite(state.policy_state.decision_state).all()
    assert state.policy_state.applied > 5
