"""Combinations of the plain and the perturbed gradient: GSAM, GNP and WSAM, Stable SAM, SANER."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import at_step, check_finite, check_fraction, check_non_negative
from optax_lookbehind._core.tree import (
    as_accumulator,
    divide,
    dot,
    norm,
    squared_norm,
    standard_promotion,
)


class Combination(NamedTuple):
    """What to emit, from the plain and the perturbed gradient: ``multistep(..., combine=)``.

    Use :func:`combination` for a function of the two gradients. Write a ``Combination`` if it needs
    a state of its own, or does something on a policy's plain steps, as :func:`reuse_direction`.

    With ``sync_perturbation=False`` each device combines its own gradients, and the average of the
    results is emitted. The state advances once per training step, with both gradients averaged over
    the devices, and keeps its structure, shapes and dtypes.

    Attributes:
      init: ``params -> state``.
      combine: ``(state, clean, perturbed) -> (emitted, state)``, the gradients being pytrees like
        the weights; ``perturbed`` is None on a policy's plain step.
      uses_displacement: whether ``combine`` takes a fourth argument, the displacement of the ascent
        :math:`p_k - w`, None on a plain step, as that of :func:`interpolated` does.
    """

    init: Callable[[optax.Params], Any]
    combine: Callable[..., tuple[optax.Updates, Any]]
    uses_displacement: bool = False


class CombinationState(NamedTuple):
    """State of :func:`combination`.

    Attributes:
      step: number of training steps taken, int32, for scheduled coefficients.
    """

    step: jax.Array


def combination(
    fn: Callable[..., optax.Updates], **coefficients: optax.ScalarOrSchedule
) -> Combination:
    r"""Makes a combination for ``multistep(..., combine=)`` from a function of two gradients.

    Change this, which emits the perturbed gradient :math:`g_s`::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05)), optax.sgd(0.1))

    To this, which emits :math:`(1 - \alpha) g + \alpha g_s`::

      def mix(clean, perturbed, alpha):
          return jax.tree.map(lambda g, g_s: (1 - alpha) * g + alpha * g_s, clean, perturbed)

      combine = combination(mix, alpha=0.8)
      tx = optax.chain(multistep(sam_perturbation(rho=0.05), combine=combine), optax.sgd(0.1))

    On a policy's plain step the plain gradient is emitted.

    Args:
      fn: ``(clean, perturbed, **coefficients) -> emitted``, all three pytrees like the weights.
      **coefficients: numbers, or Optax schedules of the training step.

    Returns:
      A :class:`Combination`.

    Raises:
      ValueError: if a coefficient is neither a finite number nor a schedule.
    """
    for name, value in coefficients.items():
        check_finite(name, value, schedule=True)

    def init_fn(params: optax.Params) -> CombinationState:
        del params
        return CombinationState(step=jnp.zeros([], jnp.int32))

    def combine_fn(
        state: CombinationState, clean: optax.Updates, perturbed: optax.Updates | None
    ) -> tuple[optax.Updates, CombinationState]:
        next_state = CombinationState(optax.safe_increment(state.step))
        if perturbed is None:
            return clean, next_state
        values = {
            name: at_step(name, value, state.step, check_finite)
            for name, value in coefficients.items()
        }
        return fn(clean, perturbed, **values), next_state

    return Combination(init_fn, combine_fn)


def surrogate_gap(alpha: optax.ScalarOrSchedule = 0.4) -> Combination:
    r"""GSAM: descends on the perturbed loss and, orthogonally to that, on the surrogate gap.

    .. math::
      g_s - \alpha g_\perp, \qquad
      g_\perp = g - \frac{\langle g, g_s \rangle}{\lVert g_s \rVert^2} g_s

    The plain gradient is decomposed along the perturbed one, and its orthogonal part is
    *subtracted*: the loss is left as it is to first order, while the gap between the perturbed loss
    and the loss shrinks. Use it as ``multistep(perturbation, combine=surrogate_gap(0.4))``.

    Args:
      alpha: weight of the orthogonal part, >= 0; or an Optax schedule. 0 is SAM.

    Returns:
      A :class:`Combination`. If :math:`g_s` is zero it emits zero, because
      :math:`-\alpha g` would be an ascent on the loss.

    Raises:
      ValueError: if ``alpha`` is not a finite number >= 0.

    References:
      Zhuang et al., `Surrogate Gap Minimization Improves Sharpness-Aware Training
      <https://arxiv.org/abs/2203.08065>`_, ICLR 2022, Algorithm 1; the authors' code,
      https://github.com/juntang-zhuang/GSAM.
    """
    check_non_negative("alpha", alpha, schedule=True)

    @standard_promotion
    def combine(clean: optax.Updates, perturbed: optax.Updates, alpha: Any) -> optax.Updates:
        g, g_s = as_accumulator(clean), as_accumulator(perturbed)
        squared = squared_norm(g_s)
        # g_perp = g - (<g, g_s> / |g_s|^2) g_s, and then g_s - alpha g_perp.
        orthogonal = optax.tree.add_scale(g, -divide(dot(g, g_s), squared), g_s)
        return optax.tree.add_scale(g_s, -jnp.where(squared == 0, 0, alpha), orthogonal)

    return combination(combine, alpha=alpha)


def weighted(alpha: optax.ScalarOrSchedule = 0.8) -> Combination:
    r"""Weighs the plain and the perturbed gradient: penalizing the gradient norm (GNP), and WSAM.

    .. math:: (1 - \alpha) g + \alpha g_s

    Use it as ``multistep(perturbation, combine=weighted(0.8))``. (The default of GNP's code
    normalizes the plain gradient to length 1 first; its paper and README do not, and neither does
    this.)

    Args:
      alpha: weight of the perturbed gradient, >= 0; or an Optax schedule. 0 is the plain gradient,
        1 is SAM, and more than 1 weighs the sharpness more than SAM does.

    Returns:
      A :class:`Combination`. If :math:`g_s` is zero and alpha above 1, it emits
      zero, because :math:`(1 - \alpha) g` would be an ascent on the loss.

    Raises:
      ValueError: if ``alpha`` is not a finite number >= 0.

    References:
      Zhao et al., `Penalizing Gradient Norm for Efficiently Improving Generalization in Deep
      Learning <https://arxiv.org/abs/2202.03599>`_, ICML 2022; the authors' code,
      https://github.com/zhaoyang-0204/gnp.
    """
    check_non_negative("alpha", alpha, schedule=True)

    @standard_promotion
    def combine(clean: optax.Updates, perturbed: optax.Updates, alpha: Any) -> optax.Updates:
        g, g_s = as_accumulator(clean), as_accumulator(perturbed)
        # (1 - alpha) g + alpha g_s, whose first term must not climb where g_s is zero.
        plain_weight = jnp.where((alpha > 1) & (norm(g_s) == 0), 0, 1 - alpha)
        return optax.tree.add(optax.tree.scale(plain_weight, g), optax.tree.scale(alpha, g_s))

    return combination(combine, alpha=alpha)


def renormalized() -> Combination:
    r"""Gives the perturbed gradient the length of the plain one: Stable SAM.

    .. math:: \frac{\lVert g \rVert}{\lVert g_s \rVert} \, g_s

    SAM's gradient grows with rho, so that training can become unstable at a learning rate that
    suits the plain gradient; this one has the plain gradient's length. Use it as
    ``multistep(perturbation, combine=renormalized())``.

    Returns:
      A :class:`Combination`. If :math:`g_s` is zero it emits zero.

    References:
      Tan et al., `Stabilizing Sharpness-aware Minimization Through A Simple Renormalization
      Strategy <https://arxiv.org/abs/2401.07250>`_, JMLR 2025; the authors' code,
      https://github.com/cltan023/stablesam2024.
    """

    @standard_promotion
    def combine(clean: optax.Updates, perturbed: optax.Updates) -> optax.Updates:
        g_s = as_accumulator(perturbed)  # (|g| / |g_s|) g_s
        return optax.tree.scale(divide(norm(clean), norm(g_s)), g_s)

    return combination(combine)


def down_weighted(alpha: optax.ScalarOrSchedule = 0.5) -> Combination:
    r"""Shrinks the perturbed gradient where it is smaller than the plain one: SANER.

    .. math::
      (1 - \alpha m) \circ g_s, \qquad m_j = 1 \text{ if } 0 < g_{s,j} / g_j < 1 \text{ else } 0

    elementwise. The authors find that, with noisy labels, these components fit the noise. Use it as
    ``multistep(perturbation, combine=down_weighted(0.5))``.

    Args:
      alpha: the fraction by which those components shrink, in [0, 1]; or an Optax schedule, such as
        ``optax.linear_schedule(0.0, 0.5, steps)``: the authors warm up from 0 over 50 epochs. 0 is
        SAM. (This is the paper's alpha; the argument ``alpha`` of the authors' class is 1 - alpha.)

    Returns:
      A :class:`Combination`.

    Raises:
      ValueError: if ``alpha`` is outside [0, 1].

    References:
      Luong et al., `Understanding SAM's Robustness to Noisy Labels through Gradient Down-weighting
      <https://arxiv.org/abs/2411.17132>`_, AISTATS 2026; the authors' code,
      https://github.com/lhchau/sam-label-noise.
    """
    check_fraction("alpha", alpha, schedule=True)

    @standard_promotion
    def combine(clean: optax.Updates, perturbed: optax.Updates, alpha: Any) -> optax.Updates:
        def shrink(g: jax.Array, g_s: jax.Array) -> jax.Array:
            # 0 < g_s / g < 1 without the division: g may be zero.
            smaller = (jnp.sign(g_s) == jnp.sign(g)) & (jnp.abs(g_s) < jnp.abs(g))
            return jnp.where(smaller, 1 - alpha, 1) * g_s

        return jax.tree.map(shrink, as_accumulator(clean), as_accumulator(perturbed))

    return combination(combine, alpha=alpha)


def sharpness_weight(gamma: Any) -> Any:
    """WSAM's weight of the sharpness: ``gamma / (1 - gamma)``."""
    check_fraction("gamma", gamma, one=False)
    return gamma / (1 - gamma)
