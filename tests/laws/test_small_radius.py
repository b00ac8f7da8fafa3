"""The emitted gradient as rho goes to zero: limit, derivative and order of the error; the reach."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.laws import quadratics as q

pytestmark = pytest.mark.usefixtures("float64")
RADII = 2.0 ** -np.array([10, 14])
MASK = {"kernel": True, "bias": False}


def loss_fn(params):
    """A loss with curvature of both signs and third derivatives."""
    w = q.flatten(params)
    mixing = jnp.asarray(np.random.default_rng(2).normal(size=(q.SIZE, q.SIZE))) / 3
    return jnp.sum(jnp.cos(mixing @ w)) + jnp.sum(jnp.tanh(w) ** 2) / 2


PARAMS = lambda: q.unflatten(jnp.asarray(q.start()) + 0.3)


def derivatives():
    """w, g, n = g / |g| and the product with the Hessian, as flat vectors."""
    params = PARAMS()
    g = jax.grad(loss_fn)(params)
    hvp = lambda v: np.asarray(
        q.flatten(jax.jvp(jax.grad(loss_fn), (params,), (q.unflatten(jnp.asarray(v)),))[1])
    )
    w, g = (np.asarray(q.flatten(tree)) for tree in (params, g))
    return w, g, g / np.linalg.norm(g), hvp


def orthogonal(x, n):
    return x - (x @ n) * n


def masked(hvp, x, mask):
    """H M^2 x / |M x|."""
    return hvp(mask**2 * x) / np.linalg.norm(mask * x)


def kept(n, hn, alpha):
    """SANER's factor where the perturbation shrinks the gradient, 1 elsewhere."""
    return np.where(hn * n < 0, 1 - alpha, 1)


# method of rho, its limit E_0 and derivative D: E(rho) = E_0 + rho D + O(rho^2).
LIMITS = {
    "xsam": (
        lambda rho: ol.xsam(rho, 1.4),
        lambda w, g, n, h: (g, h(n) + 0.4 * orthogonal(h(n), n)),
    ),
    "sam": (ol.sam, lambda w, g, n, h: (g, h(n))),
    "usam": (ol.usam, lambda w, g, n, h: (g, h(g))),
    "multistep": (lambda rho: ol.multistep_sam(3, rho), lambda w, g, n, h: (g, 3 * h(n))),
    "multistep, mean": (
        lambda rho: ol.multistep_sam(3, rho, average=True),
        lambda w, g, n, h: (g, 2 * h(n)),
    ),
    "lookbehind": (
        lambda rho: ol.lookbehind_sam(3, rho, 0.5),
        lambda w, g, n, h: (1.5 * g, 3 * h(n)),
    ),
    "lookbehind, adaptive": (
        lambda rho: ol.lookbehind_sam(3, rho, "adaptive"),
        lambda w, g, n, h: (3 * g, 6 * h(n)),
    ),
    "gsam": (
        lambda rho: ol.gsam(rho, 0.4),
        lambda w, g, n, h: (g, h(n) + 0.4 * orthogonal(h(n), n)),
    ),
    "gnp": (lambda rho: ol.gnp(rho, 0.8), lambda w, g, n, h: (g, 0.8 * h(n))),
    "wsam": (lambda rho: ol.wsam(rho, 0.75), lambda w, g, n, h: (g, 3 * h(n))),
    "stable_sam": (ol.stable_sam, lambda w, g, n, h: (g, orthogonal(h(n), n))),
    # The only one that stays away from the plain gradient, however small rho is.
    "saner": (
        lambda rho: ol.saner(rho, 0.5),
        lambda w, g, n, h: (kept(n, h(n), 0.5) * g, kept(n, h(n), 0.5) * h(n)),
    ),
    "friendly_sam, first step": (ol.friendly_sam, lambda w, g, n, h: (g, h(n))),
    "vasso, first step": (ol.vasso, lambda w, g, n, h: (g, h(n))),
    "asam": (ol.asam, lambda w, g, n, h: (g, masked(h, g, abs(w) + 0.01))),
    "lookbehind_asam": (
        lambda rho: ol.lookbehind_asam(3, rho, 0.5),
        lambda w, g, n, h: (1.5 * g, 3 * masked(h, g, abs(w) + 0.01)),
    ),
    "sam_on": (
        lambda rho: ol.sam_on(rho, MASK),
        lambda w, g, n, h: (g, masked(h, g, np.array([1.0] * 9 + [0.0] * 3))),
    ),
    "wsam_decoupled": (
        lambda rho: optax.chain(ol.wsam_decoupled(optax.sgd(1.0), 1.0, rho, 0.75), optax.scale(-1)),
        lambda w, g, n, h: (g, 3 * h(n)),
    ),
}


def emitted(make):
    """The gradients that a method emits on its first step, for all radii in one program."""
    params = PARAMS()

    def first_step(rho):
        tx = make(rho)
        grad_fn = lambda p, i: jax.grad(loss_fn)(p)
        updates, _ = tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)
        return q.flatten(updates)

    return np.asarray(jax.jit(lambda radii: jax.lax.map(first_step, radii))(jnp.asarray(RADII)))


@pytest.mark.parametrize("name", LIMITS)
def test_the_first_order_in_rho_and_the_order_of_the_error(name):
    make, limit = LIMITS[name]
    e_0, d = limit(*derivatives())
    errors = [
        np.linalg.norm((e - e_0) / rho - d) / np.linalg.norm(d)
        for rho, e in zip(RADII, emitted(make), strict=True)
    ]
    assert errors[1] < 1e-3
    order = np.log2(errors[0] / errors[1]) / np.log2(RADII[0] / RADII[1])
    assert 0.9 < order < 1.1


def test_adaptive_alpha_is_one_to_second_order_in_rho():
    # 1 - alpha = ((k - 1) rho |q| / |g|)^2 / 16, q = H n without its part along n.
    params, k = PARAMS(), 3
    _, g, n, hvp = derivatives()
    predicted = (
        (k - 1) * RADII[1] * np.linalg.norm(orthogonal(hvp(n), n)) / np.linalg.norm(g)
    ) ** 2
    tx = ol.lookbehind_sam(k, RADII[1], "adaptive")
    grad_fn = lambda p, i: jax.grad(loss_fn)(p)
    _, state = tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)
    np.testing.assert_allclose(1 - optax.tree.get(state, "alpha"), predicted / 16, rtol=0.01)


def furthest(k, rho, params, gradient):
    """The displacement of the last point of the ascent: what is emitted is the point itself."""
    tx = ol.multistep_sam(k, rho)
    grad_fn = lambda p, i: jax.tree.map(
        lambda point, g: jnp.where(i == k - 1, point, g), p, gradient(p)
    )
    points, _ = tx.update(gradient(params), tx.init(params), params, grad_fn=grad_fn)
    return q.flatten(points) - q.flatten(params)


def test_k_steps_along_an_eigenvector_reach_k_rho():
    h, basis = q.hessian(q.SADDLE)
    gradient = lambda p: q.unflatten(jnp.asarray(h) @ q.flatten(p))
    reached = furthest(5, 0.1, q.unflatten(jnp.asarray(basis[:, 3])), gradient)
    np.testing.assert_allclose(np.linalg.norm(reached), 0.5, rtol=1e-14)


def test_k_steps_elsewhere_reach_less_to_second_order_in_rho():
    # |p_k - w| / (k rho) = 1 - (k^2 - 1) / 24 (rho |q| / |g|)^2.
    k, rho = 5, 2.0**-8
    _, g, n, hvp = derivatives()
    ratio = rho * np.linalg.norm(orthogonal(hvp(n), n)) / np.linalg.norm(g)
    reached = np.linalg.norm(furthest(k, rho, PARAMS(), jax.grad(loss_fn)))
    np.testing.assert_allclose(1 - reached / (k * rho), (k**2 - 1) / 24 * ratio**2, rtol=0.05)
