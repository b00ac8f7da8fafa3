"""The methods under test, one row for each alias: arguments to call it with, and its properties.

Tests that hold for every method run over these rows. A new method is a new row.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol

RHO = 0.05
# Buffers of a compiled step in addition to the weights and the momentum, which are donated.
SAM = ["perturbed weights"]
MULTISTEP = ["perturbed weights", "gradient"]
LOOKBEHIND = [*MULTISTEP, "displacement of the fast weights"]
ADAPTIVE = [*LOOKBEHIND, "first fast step"]
LOOKBEHIND_ASAM = [*ADAPTIVE, "T of one leaf"]  # in the tests the only leaf
TWO_GRADIENTS = [*SAM, "perturbed gradient"]
FILTERED = [*SAM, "direction of the ascent"]

Limit = tuple[str, dict[str, Any], Callable[[], optax.GradientTransformation] | None]


class Method(NamedTuple):
    """A row.

    Attributes:
      alias: the function of the library.
      arguments: what it is called with, at values where each of them matters.
      gradients: gradients of a sharpness-aware and of a plain step, the caller's included; where
        they differ the method has a policy.
      all_reduces: of a sharpness-aware step with ``sync_perturbation`` and without; None for a
        method without ``axis_name``.
      buffers: buffers as large as the weights in a compiled step; None where they are not counted.
      limits: which other arguments make it which other method (in front of SGD, or around it); None
        stands for SGD alone.
      complete: whether it holds the optimizer and emits the final update.
      quick: whether the fast tests include it: one of each kind of loop, state and policy.
    """

    alias: str
    arguments: dict[str, Any]
    gradients: tuple[int, int] = (2, 2)
    all_reduces: tuple[int, int] | None = (2, 1)
    buffers: Sequence[str] | None = None
    limits: Sequence[Limit] = ()
    complete: bool = False
    quick: bool = False

    @property
    def factory(self) -> Callable[..., optax.GradientTransformationExtraArgs]:
        return getattr(ol, self.alias)

    @property
    def has_policy(self) -> bool:
        return self.gradients[0] != self.gradients[1]

    @property
    def k(self) -> int:
        """Number of inner steps, each with a loss."""
        return self.arguments.get("k", 1)

    def make(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation, with some arguments changed or added."""
        return self.factory(**self.arguments | changes)

    def optimizer(self, behind: Any = None, **changes: Any) -> optax.GradientTransformation:
        """A complete optimizer: with SGD, or with another one, behind."""
        tx = self.make(**changes)
        return tx if self.complete else optax.chain(tx, behind or optax.sgd(0.1))


def is_vector(params: optax.Params) -> Any:
    """A mask that is True on biases, and wherever weights are a single vector."""
    return jax.tree.map(lambda w: w.ndim == 1, params)


def momentum_sgd() -> optax.GradientTransformation:
    return optax.sgd(0.1, momentum=0.9)


def sam() -> optax.GradientTransformation:
    return ol.sam(RHO)


ADAM = optax.adam(1e-2, eps_root=1e-16)  # without eps_root Adam has no derivative at zero
ALWAYS, NEVER = ({"lambda_1": x, "lambda_2": x} for x in (-np.inf, np.inf))
_LOOKBEHIND = {"k": 3, "rho": RHO}

METHODS: dict[str, Method] = {
    "sam": Method("sam", {"rho": RHO}, buffers=SAM, quick=True),
    "asam": Method("asam", {"rho": 0.5, "eta": 0.01}),
    "multistep_sam": Method(
        "multistep_sam",
        {"k": 3, "rho": RHO},
        (4, 4),
        (4, 1),
        MULTISTEP,
        [("k = 1 is SAM", {"k": 1}, sam)],
    ),
    "multistep_sam_mean": Method(
        "multistep_sam",
        {"k": 3, "rho": RHO, "average": True},
        (4, 4),
        (4, 1),
        None,
        [("k = 1 is SAM", {"k": 1}, sam)],
    ),
    "multistep_asam": Method(
        "multistep_asam",
        {"k": 2, "rho": 0.5},
        (3, 3),
        (3, 1),
        None,
        [("k = 1 is ASAM", {"k": 1}, lambda: ol.asam(0.5))],
    ),
    "lookbehind_sam": Method(
        "lookbehind_sam",
        _LOOKBEHIND | {"alpha": 0.5},
        (4, 4),
        (4, 1),
        LOOKBEHIND,
        [("k = 1 and alpha = 1 is SAM", {"k": 1, "alpha": 1.0}, sam)],
    ),
    "lookbehind_sam_adaptive": Method(
        "lookbehind_sam",
        _LOOKBEHIND | {"alpha": "adaptive"},
        (4, 4),
        (4, 1),
        ADAPTIVE,
        [("k = 1 is SAM", {"k": 1}, sam)],
    ),
    "lookbehind_asam": Method(
        "lookbehind_asam",
        {"k": 2, "rho": 0.5, "alpha": "adaptive_per_tensor"},
        (3, 3),
        (3, 1),
        LOOKBEHIND_ASAM,
        [("k = 1 is ASAM", {"k": 1}, lambda: ol.asam(0.5))],
        quick=True,
    ),
    "lookbehind_switch": Method(
        "lookbehind_sam",
        {"k": 2, "rho": RHO, "alpha": 0.5, "switch_minibatch": True},
        (4, 4),
        (3, 1),  # two of the gradients are at the same weights: XLA joins their averages
        None,
        [("k = 1 and alpha = 1 is SAM", {"k": 1, "alpha": 1.0}, sam)],
    ),
    "lookbehind_sgd": Method(
        "lookbehind_sam",
        _LOOKBEHIND | {"alpha": 0.5, "fast_optimizer": momentum_sgd()},
        (4, 4),
        (4, 3),
        LOOKBEHIND,
        complete=True,
    ),
    "lookbehind_adam": Method(
        "lookbehind_asam",
        {"k": 2, "rho": 0.5, "alpha": "adaptive", "fast_optimizer": ADAM},
        (3, 3),
        (3, 2),
        complete=True,
        quick=True,
    ),
    "ae_sam": Method(
        "ae_sam",
        {"rho": RHO, "total_steps": 20},
        (2, 1),
        (2, 2),
        limits=[("always is SAM", ALWAYS, sam), ("never is SGD", NEVER, None)],
    ),
    "ae_looksam": Method(
        "ae_looksam",
        {"rho": RHO, "alpha": 0.5, "total_steps": 20},
        (2, 1),
        (2, 2),
        limits=[("always is SAM", ALWAYS, sam), ("never is SGD", NEVER, None)],
        quick=True,
    ),
    "ae_lookbehind_sam": Method(
        "ae_lookbehind_sam",
        {"k": 2, "rho": RHO, "alpha": 0.5, "total_steps": 20},
        (3, 1),
        (3, 2),
        LOOKBEHIND,
        [
            ("always is Lookbehind", ALWAYS, lambda: ol.lookbehind_sam(2, RHO, 0.5)),
            ("never and k alpha = 1 is SGD", NEVER, None),
        ],
    ),
    "looksam": Method(
        "looksam",
        {"rho": RHO, "alpha": 0.5, "period": 2},
        (2, 1),
        (2, 2),
        limits=[("every step is SAM", {"period": 1}, sam)],
    ),
    "ss_sam": Method(
        "ss_sam",
        {"rho": RHO, "key": 1},
        (2, 1),
        (2, 2),
        limits=[
            ("always is SAM", {"probability": 1.0}, sam),
            ("never is SGD", {"probability": 0.0}, None),
        ],
    ),
    "late_sam": Method(
        "late_sam",
        {"rho": RHO, "total_steps": 4, "fraction": 0.5},
        (2, 1),
        (2, 2),
        limits=[
            ("always is SAM", {"fraction": 1.0}, sam),
            ("never is SGD", {"fraction": 0.0}, None),
        ],
    ),
    "esam": Method(
        "esam",
        {"rho": RHO, "beta": 0.6},
        limits=[("beta = 1 is SAM", {"beta": 1.0}, sam)],
        quick=True,
    ),
    "gsam": Method(
        "gsam",
        {"rho": RHO, "alpha": 0.4},
        buffers=TWO_GRADIENTS,
        limits=[("alpha = 0 is SAM", {"alpha": 0.0}, sam)],
    ),
    "gnp": Method(
        "gnp",
        {"rho": RHO, "alpha": 0.8},
        buffers=SAM,
        limits=[
            ("alpha = 1 is SAM", {"alpha": 1.0}, sam),
            ("alpha = 0 is SGD", {"alpha": 0.0}, None),
        ],
    ),
    "wsam": Method(
        "wsam",
        {"rho": RHO, "gamma": 0.9},
        buffers=TWO_GRADIENTS,
        limits=[
            ("gamma = 1/2 is SAM", {"gamma": 0.5}, sam),
            ("gamma = 0 is SGD", {"gamma": 0.0}, None),
        ],
    ),
    "stable_sam": Method("stable_sam", {"rho": RHO}, buffers=SAM),
    "saner": Method(
        "saner",
        {"rho": RHO, "alpha": 0.5},
        buffers=SAM,
        limits=[("alpha = 0 is SAM", {"alpha": 0.0}, sam)],
    ),
    "sam_on": Method(
        "sam_on",
        {"rho": RHO, "mask": is_vector},
        buffers=SAM,
        limits=[("all weights in the mask is SAM", {"mask": True}, sam)],
    ),
    "usam": Method("usam", {"rho": RHO}),
    "friendly_sam": Method(
        "friendly_sam",
        {"rho": RHO, "sigma": 0.5, "decay": 0.8},
        buffers=FILTERED,
        limits=[("sigma = 0 is SAM", {"sigma": 0.0}, sam)],
        quick=True,
    ),
    "vasso": Method(
        "vasso",
        {"rho": RHO, "theta": 0.4},
        limits=[("theta = 1 is SAM", {"theta": 1.0}, sam)],
    ),
    "momentum_sam": Method(
        "momentum_sam",
        {"optimizer": momentum_sgd(), "rho": RHO},
        (1, 1),
        None,
        SAM,
        [("rho = 0 is its optimizer", {"rho": lambda t: 0.0 * jnp.float32(t)}, None)],
        complete=True,
        quick=True,
    ),
    "wsam_decoupled": Method(
        "wsam_decoupled",
        {"optimizer": momentum_sgd(), "learning_rate": 0.1, "rho": RHO, "gamma": 0.6},
        (2, 2),
        (2, 1),
        TWO_GRADIENTS,
        [("gamma = 0 is its optimizer", {"gamma": 0.0}, None)],
        complete=True,
    ),
}


def each(
    condition: Callable[[Method], bool] = lambda method: True, slow: bool = False
) -> pytest.MarkDecorator:
    """Runs a test with ``method`` for the rows that fulfil a condition.

    Args:
      condition: of a row.
      slow: whether rows that are not ``quick`` are slow tests.
    """
    marks = lambda method: [pytest.mark.slow] if slow and not method.quick else []
    rows = [
        pytest.param(method, id=name, marks=marks(method))
        for name, method in METHODS.items()
        if condition(method)
    ]
    return pytest.mark.parametrize("method", rows)


def takes_gradients(method: Method) -> bool:
    """Whether the method calls ``grad_fn``."""
    return method.gradients[0] > 1
