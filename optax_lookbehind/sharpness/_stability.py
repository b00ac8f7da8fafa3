"""The edge of stability: the response of a method to curvature, as plain formulas."""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lookbehind._core.checks import (
    check_fraction,
    check_non_negative,
    check_positive,
)


def response(
    curvature: Any, c: float, d: float, *, rho: Any = 0.0, gradient_norm: Any = 1.0
) -> jax.Array:
    r"""The gradient that a method emits for a unit displacement along a direction of curvature l.

    .. math:: R(l) = l \left( c + d \, \frac{\rho \, l}{\lVert g \rVert} \right)

    On a quadratic loss, and with the gradient along that direction, a step with learning rate
    :math:`\eta` multiplies the displacement by :math:`1 - \eta R(l)`. Training with a constant rate
    comes down to :math:`\eta R(l) = 2`, where it bounces across the valley: see :func:`edge`, which
    solves for l. ``learning_rate * response(...) / 2`` is 1 at the edge of stability, and far below
    1 where learning rate and rho have no effect through stability.

    ========================================  ================  =======================
    method                                    c                 d
    ========================================  ================  =======================
    no method: the optimizer alone            1                 0
    ``sam``, ``esam``                         1                 1
    ``usam``, with ``gradient_norm=1``        1                 1
    ``multistep_sam``                         1                 k
    ``multistep_sam``, ``average=True``       1                 (k + 1) / 2
    ``lookbehind_sam``, a fixed alpha         alpha k           alpha k (k + 1) / 2
    ``lookbehind_sam``, adaptive alpha        k                 k (k + 1) / 2
    ``gsam``, ``saner``                       1                 1
    ``gnp``                                   1                 alpha
    ``wsam``                                  1                 gamma / (1 - gamma)
    ``stable_sam``                            1                 0
    ``friendly_sam``, filtered gradient       1                 1 + sigma (1 - decay) / (1 + decay)
    ``vasso``, filtered gradient              1                 theta / (2 - theta)
    ``wsam_decoupled``, momentum beta         1 / (1 + beta)    gamma / (1 - gamma)
    ========================================  ================  =======================

    Where a method divides by another norm, ``gradient_norm`` is that norm: of the filtered gradient
    for ``friendly_sam`` and ``vasso``; 1 for ``usam``, which divides by none. ``asam`` and
    ``sam_on`` respond to the direction v of the curvature through their scaling
    :math:`T = |w| + \eta` or mask M: c = 1, :math:`d = v^\top T^2 v` with
    :math:`\lVert T g \rVert` as the norm (a lower bound of the response), or
    :math:`d = \lVert M v \rVert^2` with :math:`\lVert M g \rVert`. Policies (``ae_sam``,
    ``ss_sam``, ``late_sam``, ...) have no such pair: they are stable where the *product* of their
    steps' factors :math:`|1 - \eta R_t(l)|` is below 1, not where the mean response is below
    :math:`2 / \eta`. ``looksam``, ``ae_looksam`` and ``momentum_sam`` have none either.

    Args:
      curvature: l, an eigenvalue of the Hessian of the training loss; an array of any shape.
      c: response to the plain gradient; see the table.
      d: response to the perturbation; see the table.
      rho: radius of the perturbation, >= 0, in the units of the weights.
      gradient_norm: norm of the gradient at the weights, by which the perturbation is divided, > 0.
        At the edge it alternates with the bounce: take the harmonic mean over some 20 steps.

    Returns:
      R(l), with the shape that the arguments broadcast to.

    Raises:
      ValueError: if an argument is outside its range.

    References:
      Long and Bartlett, `Sharpness-Aware Minimization and the Edge of Stability
      <https://arxiv.org/abs/2309.12488>`_, JMLR 2024, for SAM; the other rows are derived in the
      same way and tested (``tests/laws``).
    """
    _check(c, d, rho, gradient_norm)
    return jnp.asarray(curvature * (c + d * rho * curvature / gradient_norm))


def edge(
    c: float,
    d: float,
    *,
    learning_rate: Any,
    rho: Any = 0.0,
    gradient_norm: Any = 1.0,
    momentum: float = 0.0,
) -> jax.Array:
    r"""The curvature at the edge of stability: the positive l with :math:`\eta R(l) = 2`.

    .. math::
      l = \frac{-c + \sqrt{c^2 + 8 A / \eta}}{2 A}, \qquad A = d \, \frac{\rho}{\lVert g \rVert}

    and :math:`2 / (\eta c)` without a perturbation. Training at a constant learning rate settles
    where the largest eigenvalue of the Hessian is about l, if it gets there; it is an upper bound
    otherwise. With a rule that divides by the gradient norm this ties l to :math:`\lVert g \rVert`;
    it predicts l alone only where no norm is in it (no method, or ``usam``).

    Args:
      c: see the table of :func:`response`.
      d: see the table of :func:`response`.
      learning_rate: eta, > 0, of the optimizer behind the method, SGD.
      rho: see :func:`response`.
      gradient_norm: see :func:`response`.
      momentum: beta of heavy-ball momentum behind the method, in [0, 1): it replaces eta by
        :math:`\eta / (1 + \beta)`. (For ``wsam_decoupled``, whose c holds it, leave it at 0.)

    Returns:
      l, with the shape that the arguments broadcast to.

    Raises:
      ValueError: if an argument is outside its range.

    References:
      See :func:`response`.
    """
    _check(c, d, rho, gradient_norm)
    if jnp.ndim(learning_rate) == 0:
        check_positive("learning_rate", learning_rate)
    check_fraction("momentum", momentum, one=False)
    eta = learning_rate / (1 + momentum)
    a = d * rho / gradient_norm
    # The root of A l^2 + c l - 2 / eta = 0 in the form that has no 0 / 0 at A = 0.
    return jnp.asarray((4 / eta) / (c + jnp.sqrt(c**2 + 8 * a / eta)))


def _check(c: Any, d: Any, rho: Any, gradient_norm: Any) -> None:
    """Checks the numbers; arrays and traced values, whose elements are not known, pass."""
    for name, value, check in (
        ("c", c, check_positive),
        ("d", d, check_non_negative),
        ("rho", rho, check_non_negative),
        ("gradient_norm", gradient_norm, check_positive),
    ):
        if jnp.ndim(value) == 0:
            check(name, value)
