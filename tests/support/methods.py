"""The methods under test, one row for each alias: arguments to call it with, and its properties.

Tests that hold for every method run over these rows. A new method is a new row, and a line in
``LIMITS`` for each method that it contains.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol


class Method(NamedTuple):
    """A row.

    Attributes:
      alias: the function of the library (``multistep`` for a rule that has no alias).
      arguments: what it is called with, at values where each of them matters.
      gradients: gradients of a sharpness-aware and of a plain step, the caller's included; where
        they differ the method has a policy.
      all_reduces: of a sharpness-aware step with ``sync_perturbation`` and without; None for a
        method without ``axis_name``.
      buffers: buffers as large as the weights in a compiled step; None where they are not counted.
      complete: whether it holds the optimizer and emits the final update.
      quick: whether the fast tests include it: one of each kind of loop, state and policy.
    """

    alias: str
    arguments: dict[str, Any]
    gradients: tuple[int, int] = (2, 2)
    all_reduces: tuple[int, int] | None = (2, 1)
    buffers: Sequence[str] | None = None
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


RHO = 0.05
SGD = optax.sgd(0.1, momentum=0.9)
ADAM = optax.adam(1e-2, eps_root=1e-16)  # without eps_root Adam has no derivative at zero

_SAM, _ASAM, _AE = {"rho": RHO}, {"rho": 0.5}, {"rho": RHO, "total_steps": 20}
_K3, _DECOUPLED = {"k": 3, "rho": RHO}, {"optimizer": SGD, "learning_rate": 0.1, "gamma": 0.6}
_PER_TENSOR = {"k": 2, "rho": 0.5, "alpha": "adaptive_per_tensor"}

# Buffers in addition to the weights and the momentum, which are donated.
ONE = ["perturbed weights"]
MULTISTEP = ["perturbed weights", "gradient"]
LOOKBEHIND = [*MULTISTEP, "displacement of the fast weights"]
ADAPTIVE = [*LOOKBEHIND, "first fast step"]
ADAPTIVE_ASAM = [*ADAPTIVE, "T of one leaf"]  # in the tests the only leaf
TWO_GRADIENTS = [*ONE, "perturbed gradient"]
FILTERED = [*ONE, "direction of the ascent"]

P, Q = (2, 1), (2, 2)  # a policy with SAM: gradients, and all-reduces
METHODS: dict[str, Method] = {
    "sam": Method("sam", _SAM, buffers=ONE, quick=True),
    "asam": Method("asam", _ASAM | {"eta": 0.02}),
    "multistep_sam": Method("multistep_sam", _K3, (4, 4), (4, 1), MULTISTEP),
    "multistep_sam_mean": Method("multistep_sam", _K3 | {"average": True}, (4, 4), (4, 1)),
    "multistep_asam": Method("multistep_asam", _ASAM | {"k": 2}, (3, 3), (3, 1)),
    "lookbehind_sam": Method("lookbehind_sam", _K3 | {"alpha": 0.5}, (4, 4), (4, 1), LOOKBEHIND),
    "lookbehind_sam_adaptive": Method(
        "lookbehind_sam", _K3 | {"alpha": "adaptive"}, (4, 4), (4, 1), ADAPTIVE
    ),
    "lookbehind_asam": Method(
        "lookbehind_asam", _PER_TENSOR, (3, 3), (3, 1), ADAPTIVE_ASAM, quick=True
    ),
    # Two of the gradients are at the same weights: XLA joins their averages.
    "lookbehind_switch": Method(
        "lookbehind_sam", _K3 | {"k": 2, "alpha": 0.5, "switch_minibatch": True}, (4, 4), (3, 1)
    ),
    "lookbehind_sgd": Method(
        "lookbehind_sam",
        _K3 | {"alpha": 0.5, "fast_optimizer": SGD},
        (4, 4),
        (4, 3),
        LOOKBEHIND,
        complete=True,
    ),
    "lookbehind_adam": Method(
        "lookbehind_asam",
        _PER_TENSOR | {"alpha": "adaptive", "fast_optimizer": ADAM},
        (3, 3),
        (3, 2),
        complete=True,
        quick=True,
    ),
    "ae_sam": Method("ae_sam", _AE, P, Q),
    "ae_looksam": Method("ae_looksam", _AE | {"alpha": 0.5}, P, Q, quick=True),
    "ae_lookbehind_sam": Method(
        "ae_lookbehind_sam", _AE | {"k": 2, "alpha": 0.5}, (3, 1), (3, 2), LOOKBEHIND
    ),
    "looksam": Method("looksam", _SAM | {"alpha": 0.5, "period": 2}, P, Q),
    "ss_sam": Method("ss_sam", _SAM | {"key": 1}, P, Q),
    "late_sam": Method("late_sam", _SAM | {"total_steps": 4, "fraction": 0.5}, P, Q),
    "esam": Method("esam", _SAM | {"beta": 0.6}, quick=True),
    "gsam": Method("gsam", _SAM | {"alpha": 0.4}, buffers=TWO_GRADIENTS),
    "gnp": Method("gnp", _SAM | {"alpha": 0.8}, buffers=ONE),
    "wsam": Method("wsam", _SAM | {"gamma": 0.9}, buffers=TWO_GRADIENTS),
    "stable_sam": Method("stable_sam", _SAM, buffers=ONE),
    "saner": Method("saner", _SAM | {"alpha": 0.5}, buffers=ONE),
    "sam_on": Method("sam_on", _SAM | {"mask": is_vector}, buffers=ONE),
    "usam": Method("usam", _SAM),
    "friendly_sam": Method(
        "friendly_sam", _SAM | {"sigma": 0.5, "decay": 0.8}, buffers=FILTERED, quick=True
    ),
    "vasso": Method("vasso", _SAM | {"theta": 0.4}),
    "le_sam": Method("le_sam", {"budget": 0.1, "rho_max": 0.2}),
    "xsam": Method("xsam", _SAM | {"alpha": 1.4, "k": 2}, (3, 3), (3, 1)),
    "rms_sam": Method("multistep", {"perturbation": ol.rms_perturbation(RHO, decay=0.9)}),
    "momentum_sam": Method(
        "momentum_sam", _SAM | {"optimizer": SGD}, (1, 1), None, ONE, complete=True, quick=True
    ),
    "wsam_decoupled": Method(
        "wsam_decoupled", _SAM | _DECOUPLED, buffers=TWO_GRADIENTS, complete=True
    ),
}


def _sam() -> optax.GradientTransformation:
    return ol.sam(RHO)


def _asam() -> optax.GradientTransformation:
    return ol.asam(0.5)


ALWAYS, NEVER = ({"lambda_1": x, "lambda_2": x} for x in (-np.inf, np.inf))
# With these arguments a method is another one in front of its optimizer; None: the optimizer alone.
LIMITS: list[tuple[str, dict[str, Any], Callable[[], optax.GradientTransformation] | None]] = [
    ("multistep_sam", {"k": 1}, _sam),
    ("multistep_sam_mean", {"k": 1}, _sam),
    ("multistep_asam", {"k": 1}, _asam),
    ("lookbehind_sam", {"k": 1, "alpha": 1.0}, _sam),
    ("lookbehind_sam_adaptive", {"k": 1}, _sam),
    ("lookbehind_asam", {"k": 1}, _asam),
    ("lookbehind_switch", {"k": 1, "alpha": 1.0}, _sam),
    ("ae_sam", ALWAYS, _sam),
    ("ae_sam", NEVER, None),
    ("ae_looksam", ALWAYS, _sam),
    ("ae_looksam", NEVER, None),
    ("ae_lookbehind_sam", ALWAYS, lambda: ol.lookbehind_sam(2, RHO, 0.5)),
    ("ae_lookbehind_sam", NEVER, None),  # k alpha = 1
    ("looksam", {"period": 1}, _sam),
    ("ss_sam", {"probability": 1.0}, _sam),
    ("ss_sam", {"probability": 0.0}, None),
    ("late_sam", {"fraction": 1.0}, _sam),
    ("late_sam", {"fraction": 0.0}, None),
    ("esam", {"beta": 1.0}, _sam),
    ("gsam", {"alpha": 0.0}, _sam),
    ("gnp", {"alpha": 1.0}, _sam),
    ("gnp", {"alpha": 0.0}, None),
    ("wsam", {"gamma": 0.5}, _sam),
    ("wsam", {"gamma": 0.0}, None),
    ("saner", {"alpha": 0.0}, _sam),
    ("sam_on", {"mask": True}, _sam),
    ("friendly_sam", {"sigma": 0.0}, _sam),
    ("vasso", {"theta": 1.0}, _sam),
    ("le_sam", {"budget": 1e6, "rho_max": RHO}, _sam),
    ("le_sam", {"budget": 1e-20}, None),
    ("xsam", {"alpha": 1.0, "k": 1}, _sam),
    ("xsam", {"alpha": 1.0}, lambda: ol.multistep_sam(2, RHO)),
    ("momentum_sam", {"rho": lambda t: 0.0 * jnp.float32(t)}, None),
    ("wsam_decoupled", {"gamma": 0.0}, None),
]


def each(
    condition: Callable[[Method], Any] = lambda method: True, slow: bool = False
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
