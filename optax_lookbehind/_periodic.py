"""SAM at fixed intervals or at random: the baselines of the adaptive policy."""

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import as_key, check_key, check_positive_integer, check_scalar
from optax_lookbehind._devices import AxisName
from optax_lookbehind._multistep import sam
from optax_lookbehind._policy import policy


def periodic_policy(
    inner: optax.GradientTransformation,
    period: int,
    reuse: optax.ScalarOrSchedule | None = None,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Runs ``inner`` on every ``period``-th step, beginning with the first.

    On the other steps the plain gradient is emitted (around a Lookbehind :math:`k \alpha` times it,
    so that steps are equally long), or with ``reuse`` LookSAM's
    :math:`g + \alpha \lVert g \rVert v / \lVert v \rVert`, and the step costs one gradient. Use it
    as :func:`adaptive_policy`; ``optax.tree.get(state, "applied")`` counts the uses.

    Args:
      inner: any sharpness-aware transformation of this package that emits a gradient, given the
        same ``axis_name``.
      period: an integer >= 1; 1 is ``inner`` itself.
      reuse: None, or LookSAM's alpha, as in :func:`adaptive_policy`.
      axis_name: the mapped axis over which the emitted gradient is averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``period`` is not an integer >= 1; in ``init`` if ``inner`` is a Lookbehind
        with ``fast_optimizer``.

    References:
      Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
      <https://arxiv.org/abs/2203.02714>`_, CVPR 2022 (LookSAM).
    """
    check_positive_integer("period", period)

    def decide(
        state: optax.EmptyState, count: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, optax.EmptyState]:
        del grads
        return count % period == 0, state

    return policy(inner, lambda params: optax.EmptyState(), decide, reuse, axis_name)


def random_policy(
    inner: optax.GradientTransformation,
    probability: float = 0.5,
    key: int | jax.Array = 0,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    """Runs ``inner`` on a random share of the steps, drawn anew in each.

    On the other steps the plain gradient is emitted (around a Lookbehind ``k * alpha`` times it,
    so that steps are equally long) and the step costs one gradient. Use it as
    :func:`adaptive_policy`; ``optax.tree.get(state, "applied")`` counts the uses.

    Args:
      inner: any sharpness-aware transformation of this package that emits a gradient, given the
        same ``axis_name``.
      probability: of running ``inner``, in [0, 1]; 1 is ``inner`` itself.
      key: a seed or a ``jax.random.key``, kept in the state.
      axis_name: the mapped axis over which the emitted gradient is averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``probability`` is outside [0, 1]; in ``init`` if ``inner`` is a Lookbehind
        with ``fast_optimizer``.

    References:
      Zhao, Zhang and Hu, `Randomized Sharpness-Aware Training for Boosting Computational
      Efficiency in Deep Learning <https://arxiv.org/abs/2203.09962>`_, 2022 (SS-SAM).
    """
    check_scalar("probability", probability, 0, 1, "[]")
    check_key(key)

    def decide(
        key: jax.Array, count: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, jax.Array]:
        del count, grads
        key, draw = jax.random.split(key)
        return jax.random.bernoulli(draw, probability), key

    return policy(inner, lambda params: as_key(key), decide, None, axis_name)


def looksam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    period: int = 5,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM every ``period`` steps, its direction reused in between. ``1 + 1/period`` gradients.

    ``periodic_policy(sam(rho), period, reuse=alpha)``: see :func:`periodic_policy`.

    References:
      Liu et al., `LookSAM <https://arxiv.org/abs/2203.02714>`_, CVPR 2022.
    """
    check_scalar("alpha", alpha, 0, jnp.inf, "[)", schedule=True)
    inner = sam(rho, axis_name=axis_name, sync_perturbation=sync_perturbation)
    return periodic_policy(inner, period, reuse=alpha, axis_name=axis_name)


def ss_sam(
    rho: optax.ScalarOrSchedule,
    probability: float = 0.5,
    key: int | jax.Array = 0,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM on a random share of the steps. ``1 + probability`` gradients on average.

    ``random_policy(sam(rho), probability, key)``: see :func:`random_policy`.

    References:
      Zhao, Zhang and Hu, `SS-SAM <https://arxiv.org/abs/2203.09962>`_, 2022.
    """
    inner = sam(rho, axis_name=axis_name, sync_perturbation=sync_perturbation)
    return random_policy(inner, probability, key, axis_name=axis_name)
