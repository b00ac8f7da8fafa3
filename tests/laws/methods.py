"""The law of each public method, or why it has none.

``test_every_method_has_a_law`` holds this table against the public names: a new method brings its
row, with its trajectory in matrix form.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

import optax_lookbehind as ol
from tests.laws import quadratics as q
from tests.laws.quadratics import ascent, norm, plain, sgd

RHO, ETA, STEPS = 0.1, 0.2, 60


class Law(NamedTuple):
    """A method on a quadratic.

    Attributes:
      make: ``eta -> transformation``, the method with its optimizer.
      trajectory: ``eta -> reference``, the same in matrix form; None: draws at random.
      response: ``(c, d)`` of its response to curvature, for ``sharpness.edge``; None: it has none.
      filter: factor by which a filter multiplies the gradient on a bounce of period two; ``d``
        holds it, and the norm that goes with it is that of the filtered gradient.
      why_no_edge: the reason, without a response.
    """

    make: Callable[[float], optax.GradientTransformation]
    trajectory: Callable[[float], Callable] | None
    response: tuple[float, float] | None = None
    why_no_edge: str = ""
    filter: float = 1.0


def chained(method: Any) -> Callable[[float], optax.GradientTransformation]:
    return lambda eta: optax.chain(method, optax.sgd(eta))


def emits(emit: Callable, momentum: float = 0.0) -> Callable[[float], Callable]:
    """The reference ``eta -> trajectory`` of SGD behind a method without state."""
    return lambda eta: sgd(emit, eta, momentum)


def emits_with_state(make: Callable[[], Callable]) -> Callable[[float], Callable]:
    """The same for a reference that keeps state, made anew for each run."""
    return lambda eta: sgd(make(), eta)


def sam_gradient(h, g, w, t):
    return ascent(h, g, RHO)[0]


def combined(combine):
    return emits(lambda h, g, w, t: combine(g, sam_gradient(h, g, w, t)))


def scaled(h, g, w, k=1, rho=RHO):
    """ASAM's gradients: e = rho T^2 g / |T g|, T = |p| + 0.01 at each point p of the ascent."""
    gradients, p = [], w
    for _ in range(k):
        scaling = np.abs(p) + 0.01
        p = p + rho * scaling**2 * g / norm(scaling * g)
        g = h @ p
        gradients.append(g)
    return gradients


def rotated(g_1, g_2, g, alpha):
    """XSAM's gradient: g_2 turned in its plane with e_1 + e_2, by the angle between them."""
    moved = RHO * g / norm(g) + RHO * g_1 / norm(g_1)
    v_0, v_1 = moved / norm(moved), g_2 / norm(g_2)
    psi = np.arccos(np.clip(v_0 @ v_1, -1, 1))
    first, second = np.sin((1 - alpha) * psi), np.sin(alpha * psi)
    return norm(g_2) * (first * v_0 + second * v_1) / np.sin(psi)


def looksam(h, g, w, t, reuse, period):
    return (reuse.sharp if t % period == 0 else reuse.plain)(h, g, w, t)


def periodic_reuse(period, alpha):
    def make():
        reuse = q.Reuse(RHO, alpha)
        return lambda *args: looksam(*args, reuse=reuse, period=period)

    return make


def adaptive_reuse(alpha):
    def make():
        reuse = q.Reuse(RHO, alpha)
        return q.AdaptivePolicy(STEPS, 0.0, 2.0, reuse.sharp, reuse.plain)

    return make


def adaptive_lookbehind(h, g, w, t):
    gradients = ascent(h, g, RHO, 3)
    return q.adaptive(gradients[0], sum(gradients)) * sum(gradients)


def momentum_sam(eta, rho=RHO, momentum=0.9):
    """Algorithm 1 of Momentum-SAM: gradients at w - rho v / |v|; returns the perturbed weights."""

    def trajectory(h, w, steps):
        weights, v, e = [], np.zeros_like(w), np.zeros_like(w)
        for _ in range(steps):
            v = momentum * v + h @ (w + e)
            w = w - eta * v
            e = -rho * v / norm(v)
            weights.append(w + e)
        return np.array(weights)

    return trajectory


def wsam_decoupled(eta, gamma=0.8, momentum=0.9):
    def trajectory(h, w, steps):
        weights, v = [], 0
        for _ in range(steps):
            g = h @ w
            v = momentum * v + g
            w = w - eta * v - eta * gamma / (1 - gamma) * (ascent(h, g, RHO)[0] - g)
            weights.append(w)
        return np.array(weights)

    return trajectory


MASK = {"kernel": True, "bias": False}
MASKED = np.array([1.0] * 9 + [0.0] * 3)
_POLICY = "stable where the product of the steps' factors is, not a mean response"

LAWS = {
    "sam": Law(chained(ol.sam(RHO)), emits(sam_gradient), (1, 1)),
    "usam": Law(chained(ol.usam(RHO)), emits(lambda h, g, w, t: g + RHO * h @ g), (1, 1)),
    "multistep_sam": Law(
        chained(ol.multistep_sam(3, RHO)),
        emits(lambda h, g, w, t: ascent(h, g, RHO, 3)[-1]),
        (1, 3),
    ),
    "multistep_sam, mean": Law(
        chained(ol.multistep_sam(3, RHO, average=True)),
        emits(lambda h, g, w, t: np.mean(ascent(h, g, RHO, 3), axis=0)),
        (1, 2),
    ),
    "lookbehind_sam": Law(
        chained(ol.lookbehind_sam(3, RHO, 0.5)),
        emits(lambda h, g, w, t: 0.5 * sum(ascent(h, g, RHO, 3))),
        (1.5, 3),
    ),
    "lookbehind_sam, adaptive": Law(
        chained(ol.lookbehind_sam(3, RHO, "adaptive")), emits(adaptive_lookbehind), (3, 6)
    ),
    "lookbehind_sam, momentum inside": Law(
        lambda eta: ol.lookbehind_sam(
            3, RHO, 0.5, fast_optimizer=optax.sgd(eta / 10, momentum=0.9)
        ),
        lambda eta: q.fast_weights(RHO, 3, 0.5, eta / 10, 0.9),
        why_no_edge="an oscillation sets in before the bounce: tested by its own law",
    ),
    "gsam": Law(
        chained(ol.gsam(RHO, 0.4)),
        combined(lambda g, g_s: g_s - 0.4 * q.projected_out(g, g_s)),
        (1, 1),
    ),
    "gnp": Law(chained(ol.gnp(RHO, 0.8)), combined(lambda g, g_s: 0.2 * g + 0.8 * g_s), (1, 0.8)),
    "wsam": Law(chained(ol.wsam(RHO, 0.6)), combined(lambda g, g_s: g + 1.5 * (g_s - g)), (1, 1.5)),
    "wsam_decoupled": Law(
        lambda eta: ol.wsam_decoupled(optax.sgd(eta, 0.9), eta, RHO, 0.8),
        wsam_decoupled,
        (1 / 1.9, 4),
    ),
    "xsam": Law(
        chained(ol.xsam(RHO, 1.4, k=2)),
        emits(lambda h, g, w, t: rotated(*ascent(h, g, RHO, 2), g, 1.4)),
        (1, 2),
    ),
    "le_sam": Law(
        chained(ol.le_sam(0.02, rho_max=RHO)),
        emits(lambda h, g, w, t: ascent(h, g, min(0.02 / norm(g), RHO))[0]),
        why_no_edge="sam's at the radius min(budget / |g|, rho_max)",
    ),
    "stable_sam": Law(
        chained(ol.stable_sam(RHO)),
        combined(lambda g, g_s: norm(g) / norm(g_s) * g_s),
        why_no_edge="converges: aligned, its edge is SGD's",
    ),
    "saner": Law(
        chained(ol.saner(RHO, 0.5)),
        combined(lambda g, g_s: np.where((g * g_s > 0) & (abs(g_s) < abs(g)), 0.5, 1) * g_s),
        (1, 1),
    ),
    "friendly_sam": Law(
        chained(ol.friendly_sam(RHO)),
        emits_with_state(lambda: q.Filtered(RHO, lambda g, mean, new: g - mean, 0.9)),
        (1, 1 + 0.1 / 1.9),
        filter=1 + 0.1 / 1.9,
    ),
    "vasso": Law(
        chained(ol.vasso(RHO, theta=0.9)),
        emits_with_state(lambda: q.Filtered(RHO, lambda g, mean, new: new, 0.1)),
        (1, 0.9 / 1.1),
        filter=0.9 / 1.1,
    ),
    "sam_on": Law(
        chained(ol.sam_on(RHO, MASK)),
        emits(lambda h, g, w, t: g + RHO * h @ (MASKED * g) / norm(MASKED * g)),
        why_no_edge="(c, d) depends on the eigenvector and its mask",
    ),
    "asam": Law(
        chained(ol.asam(RHO)),
        emits(lambda h, g, w, t: scaled(h, g, w)[0]),
        why_no_edge="(c, d) depends on the eigenvector and the weights",
    ),
    "multistep_asam": Law(
        chained(ol.multistep_asam(3, RHO)),
        emits(lambda h, g, w, t: scaled(h, g, w, 3)[-1]),
        why_no_edge="as asam",
    ),
    "lookbehind_asam": Law(
        chained(ol.lookbehind_asam(3, RHO, 0.5)),
        emits(lambda h, g, w, t: 0.5 * sum(scaled(h, g, w, 3))),
        why_no_edge="as asam",
    ),
    "looksam": Law(
        chained(ol.looksam(RHO, 0.3, period=3)),
        emits_with_state(periodic_reuse(3, 0.3)),
        why_no_edge="the kept direction is a constant push between sharp steps",
    ),
    "ae_sam": Law(
        chained(ol.ae_sam(RHO, STEPS)),
        emits_with_state(lambda: q.AdaptivePolicy(STEPS, -1.0, 1.0, sam_gradient, plain)),
        why_no_edge=_POLICY,
    ),
    "late_sam": Law(
        chained(ol.late_sam(RHO, STEPS, 0.5)),
        emits(lambda h, g, w, t: sam_gradient(h, g, w, t) if t >= STEPS // 2 else g),
        why_no_edge=f"{_POLICY}; after its start, sam's",
    ),
    "ae_looksam": Law(
        chained(ol.ae_looksam(RHO, 0.3, STEPS)),
        emits_with_state(adaptive_reuse(0.3)),
        why_no_edge="as looksam",
    ),
    "ae_lookbehind_sam": Law(
        chained(ol.ae_lookbehind_sam(3, RHO, 0.5, STEPS)),
        emits_with_state(
            lambda: q.AdaptivePolicy(
                STEPS,
                -1.0,
                1.0,
                lambda h, g, w, t: 0.5 * sum(ascent(h, g, RHO, 3)),
                lambda h, g, w, t: 1.5 * g,
            )
        ),
        why_no_edge=_POLICY,
    ),
    "momentum_sam": Law(
        lambda eta: ol.momentum_sam(optax.sgd(eta, 0.9), RHO),
        momentum_sam,
        why_no_edge="l (eta + 2 rho / |v|) = 2 (1 + beta) with the trace v: tested by itself",
    ),
    "ss_sam": Law(chained(ol.ss_sam(RHO, key=3)), None, why_no_edge=_POLICY),
    "esam": Law(
        chained(ol.esam(RHO)), None, why_no_edge="SAM's in the mean over its random masks only"
    ),
}
