"""The methods whose edges are measured, with the law that predicts each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import optax_lookbehind as ol
from experiments.papers.laws.training import Trace
from optax_lookbehind import sharpness

Factor = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (curvature, |g|) -> eta R / 2


class Setting(NamedTuple):
    """A method at one learning rate and radius.

    Attributes:
      name: label of the row.
      law: the response in words.
      method: the method.
      learning_rate: eta.
      rho: the radius.
      factor: ``(l, norm) -> eta R(l) / 2``, 1 at the edge; increasing in l.
      optimizer: ``eta -> optimizer`` behind the method.
      divisor: maps the gradient to the vector whose norm the perturbation is divided by.
      share: ``(eigenvector, weights) -> d`` where d depends on them.
      period: every how many steps the method perturbs.
      warm_up: steps over which eta rises from 0, where the start is too far beyond the edge.
      naive: the edge without the method, in the same units: 2 / eta, with the momentum.
    """

    name: str
    law: str
    method: optax.GradientTransformationExtraArgs
    learning_rate: float
    rho: float
    factor: Factor
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.sgd
    divisor: optax.GradientTransformation = optax.identity()
    share: Callable[[np.ndarray, np.ndarray], float] = lambda vector, weights: 1.0
    period: int = 1
    warm_up: int = 0
    naive: float = 0.0

    @property
    def without_method(self) -> float:
        """The edge of the optimizer alone."""
        return self.naive or 2 / self.learning_rate

    def predicted(self, trace: Trace) -> np.ndarray:
        """The curvature at the edge for the measured norm of each sample."""
        grid = np.geomspace(0.3, 300, 30_000)
        shares = map(self.share, trace.vector, trace.weights)
        norms = [norm / share for norm, share in zip(trace.norm, shares, strict=True)]
        return np.array([grid[np.searchsorted(self.factor(grid, norm), 1.0)] for norm in norms])


def _pair(c: float, d: float, eta: float, rho: float, momentum: float = 0.0) -> Factor:
    """The factor of a response ``l (c + d rho l / |g|)``."""

    def factor(curvature: np.ndarray, norm: np.ndarray) -> np.ndarray:
        r = sharpness.response(curvature, c, d, rho=rho, gradient_norm=norm)
        return np.asarray(eta / (1 + momentum) * r / 2)

    return factor


def _row(
    name: str, method: Any, eta: float, rho: float, c: float, d: float, **others: Any
) -> Setting:
    return Setting(name, f"{c:g}, {d:g}", method, eta, rho, _pair(c, d, eta, rho), **others)


def _powers(eta: float, rho: float, exponents: tuple[int, ...]) -> Factor:
    """USAM's rule in a loop: the sum of powers of 1 + rho l, with no norm in it."""
    return lambda l, norm: eta * l * sum((1 + rho * l) ** j for j in exponents) / 2  # noqa: E741


def _usam_rule(rho: float) -> optax.GradientTransformation:
    return optax.scale(rho)


def _with_momentum(beta: float) -> Callable[[Any], optax.GradientTransformation]:
    return lambda eta: optax.sgd(eta, momentum=beta)


def settings() -> list[Setting]:
    """All settings: one network, one start; learning rates and radii at which each gets there."""
    no_method = optax.with_extra_args_support(optax.identity())
    friendly, vasso = 1 + 0.1 / 1.9, 0.9 / 1.1
    mask = [(True, True), (False, False), (False, False)]  # the first layer
    masked = optax.stateless(lambda g, p: jax.tree.map(lambda keep, x: x * keep, mask, g))
    beta = 0.9
    return [
        _row("SGD", no_method, 0.2, 0.0, 1, 0),
        Setting(
            "USAM", "l (1 + rho l)", ol.usam(0.2), 0.1, 0.2, _powers(0.1, 0.2, (1,)), warm_up=400
        ),
        Setting(
            "Multistep, USAM's rule, k = 3",
            "l (1 + rho l)^3",
            ol.multistep(_usam_rule(0.1), 3),
            0.1,
            0.1,
            _powers(0.1, 0.1, (3,)),
            warm_up=400,
        ),
        Setting(
            "Lookbehind, USAM's rule, k = 3",
            "l sum (1 + rho l)^j",
            ol.lookbehind(_usam_rule(0.1), 3, 1.0),
            0.05,
            0.1,
            _powers(0.05, 0.1, (1, 2, 3)),
            warm_up=400,
        ),
        _row("SAM", ol.sam(0.05), 0.1, 0.05, 1, 1),
        _row("Multistep-SAM, k = 3", ol.multistep_sam(3, 0.02), 0.06, 0.02, 1, 3),
        _row("the same, mean", ol.multistep_sam(3, 0.03, average=True), 0.06, 0.03, 1, 2),
        _row("Lookbehind-SAM, k = 2, alpha = 1", ol.lookbehind_sam(2, 0.05, 1.0), 0.1, 0.05, 2, 3),
        _row(
            "Lookbehind-SAM, k = 5, alpha = 0.5",
            ol.lookbehind_sam(5, 0.01, 0.5), 0.06, 0.01, 2.5, 7.5,
        ),
        _row(
            "Lookbehind-SAM, k = 5, adaptive",
            ol.lookbehind_sam(5, 0.02, "adaptive"), 0.03, 0.02, 5, 15,
        ),
        _row("GSAM, alpha = 0.4", ol.gsam(0.05), 0.1, 0.05, 1, 1),
        _row("GNP, alpha = 0.8", ol.gnp(0.05), 0.1, 0.05, 1, 0.8),
        _row("WSAM, gamma = 0.9", ol.wsam(0.01), 0.1, 0.01, 1, 9),
        _row("SANER, alpha = 0.5", ol.saner(0.05), 0.1, 0.05, 1, 1),
        _row("ESAM, beta = 0.6", ol.esam(0.05), 0.1, 0.05, 1, 1),
        _row(
            "Friendly SAM", ol.friendly_sam(0.05), 0.1, 0.05, 1, round(friendly, 3),
            divisor=ol.friendly_filter(),
        ),
        _row(
            "VaSSO, theta = 0.9", ol.vasso(0.05, theta=0.9), 0.1, 0.05, 1, round(vasso, 3),
            divisor=ol.vasso_filter(0.9),
        ),
        Setting(
            "SAM-ON, first layer", "1, (Mv)'(Mv)", ol.sam_on(0.05, mask), 0.1, 0.05,
            _pair(1, 1, 0.1, 0.05), divisor=masked, share=_first_layer,
        ),
        Setting(
            "ASAM", "1, v'T^2 v", ol.asam(0.5), 0.1, 0.5,
            _pair(1, 1, 0.1, 0.5), divisor=_SCALED, share=_scaled_share,
        ),
        Setting(
            "SAM, momentum 0.9", "1, 1, eta / 1.9", ol.sam(0.05), 0.03, 0.05,
            _pair(1, 1, 0.03, 0.05, beta), _with_momentum(beta), naive=2 * 1.9 / 0.03,
        ),
        Setting(
            "SAM on every 5th step", "product", _periodic(0.05, 5), 0.1, 0.05,
            _product(0.1, 0.05, 5), period=5,
        ),
    ]  # fmt: skip


def _first_layer(vector: np.ndarray, weights: np.ndarray) -> float:
    """|Mv|^2 for the mask of the first layer, which comes first in the flat weights."""
    del weights
    return float(np.sum(vector[: 64 * 48 + 48] ** 2))


_ETA = 0.01  # ASAM's, added to |w|
_SCALED = optax.stateless(lambda g, p: jax.tree.map(lambda x, w: (abs(w) + _ETA) * x, g, p))


def _scaled_share(vector: np.ndarray, weights: np.ndarray) -> float:
    """v'T^2 v, T = |w| + eta."""
    return float(np.sum(((abs(weights) + _ETA) * vector) ** 2))


def _periodic(rho: float, period: int) -> optax.GradientTransformationExtraArgs:
    return ol.multistep(ol.sam_perturbation(rho), policy=ol.periodic_policy(period))


def _product(eta: float, rho: float, period: int) -> Factor:
    """1 where the product of the steps' factors is: the first crossing of an unstable band."""

    def factor(l: np.ndarray, norm: np.ndarray) -> np.ndarray:  # noqa: E741
        sharp = eta * np.asarray(sharpness.response(l, 1, 1, rho=rho, gradient_norm=norm))
        product = np.abs((1 - sharp) * (1 - eta * l) ** (period - 1))
        return np.maximum.accumulate(product)

    return factor
