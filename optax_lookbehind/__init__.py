"""Sharpness-aware training for any Optax code base: SAM, ASAM, Lookbehind-SAM, AE-SAM and more."""

from optax_lookbehind._aliases.lookbehind_methods import lookbehind_asam, lookbehind_sam
from optax_lookbehind._aliases.multistep_methods import (
    asam,
    esam,
    multistep_asam,
    multistep_sam,
    sam,
)
from optax_lookbehind._aliases.policy_methods import (
    ae_lookbehind_sam,
    ae_looksam,
    ae_sam,
    looksam,
    ss_sam,
)
from optax_lookbehind._combinations import (
    CombinationState,
    ReuseDirectionState,
    combination,
    reuse_direction,
)
from optax_lookbehind._core.axes import per_device_params
from optax_lookbehind._core.types import (
    AveragedGradient,
    Decide,
    GradFn,
    SharpnessAwareState,
    SharpnessAwareUpdateFn,
)
from optax_lookbehind._example_selection import sharpest_examples_grad_fn
from optax_lookbehind._lookbehind import LookbehindState, lookbehind
from optax_lookbehind._multistep import MultistepState, multistep
from optax_lookbehind._perturbations import (
    StochasticPerturbationState,
    asam_perturbation,
    sam_perturbation,
    stochastic_perturbation,
)
from optax_lookbehind._policies import (
    AdaptiveState,
    adaptive_policy,
    periodic_policy,
    random_policy,
)
from optax_lookbehind._policy import PolicyState, policy

__version__ = "0.1.0"

__all__ = [
    "AdaptiveState",
    "AveragedGradient",
    "CombinationState",
    "Decide",
    "GradFn",
    "LookbehindState",
    "MultistepState",
    "PolicyState",
    "ReuseDirectionState",
    "SharpnessAwareState",
    "SharpnessAwareUpdateFn",
    "StochasticPerturbationState",
    "adaptive_policy",
    "ae_lookbehind_sam",
    "ae_looksam",
    "ae_sam",
    "asam",
    "asam_perturbation",
    "combination",
    "esam",
    "lookbehind",
    "lookbehind_asam",
    "lookbehind_sam",
    "looksam",
    "multistep",
    "multistep_asam",
    "multistep_sam",
    "per_device_params",
    "periodic_policy",
    "policy",
    "random_policy",
    "reuse_direction",
    "sam",
    "sam_perturbation",
    "sharpest_examples_grad_fn",
    "ss_sam",
    "stochastic_perturbation",
]
