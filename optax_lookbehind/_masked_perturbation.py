"""Perturbing some of the weights only, such as the normalization layers (SAM-ON)."""

from typing import Any

import jax
import optax

from optax_lookbehind._core.checks import check_mask, check_transformation
from optax_lookbehind._core.types import Mask


def masked_perturbation(
    perturbation: optax.GradientTransformation, mask: Mask
) -> optax.GradientTransformation:
    r"""Perturbs the weights where the mask is True, and only those (SAM-ON).

    .. math:: e = \rho \, \frac{m \circ g}{\lVert m \circ g \rVert_2}

    for SAM's rule: the norm is that of the masked gradient, so that e has length rho. All weights
    descend along the gradient at the perturbed weights. Change this::

      multistep(asam_perturbation(rho=0.5))

    To::

      def is_norm(params):
          by_name = lambda path, w: "norm" in jax.tree_util.keystr(path)
          return jax.tree_util.tree_map_with_path(by_name, params)

      multistep(masked_perturbation(asam_perturbation(rho=0.5), is_norm))

    ``optax.masked(asam_perturbation(rho), mask)`` is *not* the same, and wrong: it passes on
    unchanged what the mask excludes, so the other weights would be moved by their raw gradient.

    Args:
      perturbation: any perturbation rule, filters in front of it included; it gets the weights and
        gradients where the mask is True.
      mask: a pytree of bools like the weights (or a prefix of it), or a callable from weights to
        one, as in :func:`optax.masked`.

    Returns:
      An :class:`optax.GradientTransformation`.

    Raises:
      ValueError: in ``init`` if the mask is False everywhere, or none of the above.

    References:
      Mueller et al., `Normalization Layers Are All That Sharpness-Aware Minimization Needs
      <https://arxiv.org/abs/2306.04226>`_, NeurIPS 2023; the authors' code,
      https://github.com/mueller-mp/SAM-ON.
    """
    check_transformation("perturbation", perturbation)

    def excluded(params: optax.Params) -> Any:
        return jax.tree.map(lambda perturbed: not perturbed, _values(mask, params))

    masked = optax.chain(
        optax.masked(perturbation, mask), optax.masked(optax.set_to_zero(), excluded)
    )

    def init_fn(params: optax.Params) -> optax.OptState:
        if jax.tree.leaves(params):  # none in the placeholder of optax.tree.map_params
            check_mask(_values(mask, params), params)
        values = jax.tree.leaves(_values(mask, params))
        if values and not any(values):
            raise ValueError(
                f"mask must be True for some of the weights, or nothing is perturbed; got {mask!r}."
            )
        return masked.init(params)

    return optax.GradientTransformation(init_fn, masked.update)


def _values(mask: Mask, params: optax.Params) -> Any:
    return mask(params) if callable(mask) else mask
