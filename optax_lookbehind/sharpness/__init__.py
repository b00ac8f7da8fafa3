"""Measures of the flatness of a minimum, for any loss function and any pytree of weights.

Every measure of a model takes ``loss_fn(params, batch) -> scalar``, the weights, and ``batches``: a
pytree of arrays of shape ``(num_batches, batch_size, ...)``, such as ``minibatches((x, y), m)``.
Everything else is up to the loss function, the mode of BatchNorm and dropout included: close over
the running statistics for evaluation mode, use the batch's own for training mode.

A measure is one compiled program, whose memory does not grow with the number of minibatches, radii
or grid points. It is compiled once for each ``loss_fn``, shapes and static choices: pass the same
function object again, not a new lambda, and keep data in ``batches``, not in its closure. All
measures also work inside ``jax.jit``.

:func:`response` and :func:`edge` are formulas: they relate the largest eigenvalue of the Hessian to
learning rate, rho and gradient norm.
"""

from optax_lookbehind.sharpness._alignment import Alignment, alignment
from optax_lookbehind.sharpness._batches import minibatches
from optax_lookbehind.sharpness._curvature import (
    TraceEstimate,
    hessian_eigenvalues,
    hessian_trace,
    hessian_vector_product,
)
from optax_lookbehind.sharpness._gradient_noise import (
    GradientStatistics,
    NormalQQ,
    gradient_statistics,
    normal_qq,
)
from optax_lookbehind.sharpness._landscape import (
    filter_normalized_direction,
    loss_between,
    loss_line,
    loss_plane,
)
from optax_lookbehind.sharpness._m_sharpness import m_sharpness
from optax_lookbehind.sharpness._noise import NoiseRobustness, noise_robustness, noisy_weights
from optax_lookbehind.sharpness._propose_rho import RhoProposal, propose_rho
from optax_lookbehind.sharpness._stability import edge, response

__all__ = [
    "Alignment",
    "GradientStatistics",
    "NoiseRobustness",
    "NormalQQ",
    "RhoProposal",
    "TraceEstimate",
    "alignment",
    "edge",
    "filter_normalized_direction",
    "gradient_statistics",
    "hessian_eigenvalues",
    "hessian_trace",
    "hessian_vector_product",
    "loss_between",
    "loss_line",
    "loss_plane",
    "m_sharpness",
    "minibatches",
    "noise_robustness",
    "noisy_weights",
    "normal_qq",
    "propose_rho",
    "response",
]
