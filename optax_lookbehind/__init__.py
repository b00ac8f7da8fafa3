"""Sharpness-aware training for any Optax code base: SAM, ASAM, Lookbehind and when to use them."""

from optax_lookbehind._adaptive import (
    AdaptiveState,
    adaptive_policy,
    ae_lookbehind_sam,
    ae_looksam,
    ae_sam,
)
from optax_lookbehind._esam import (
    StochasticPerturbationState,
    esam,
    sharpest_examples_grad_fn,
    stochastic_perturbation,
)
from optax_lookbehind._lookbehind import (
    LookbehindState,
    lookbehind,
    lookbehind_asam,
    lookbehind_sam,
)
from optax_lookbehind._multistep import (
    MultistepState,
    asam,
    multistep,
    multistep_asam,
    multistep_sam,
    sam,
)
from optax_lookbehind._periodic import looksam, periodic_policy, random_policy, ss_sam
from optax_lookbehind._perturbation import asam_perturbation, sam_perturbation
from optax_lookbehind._policy import PolicyState

__all__ = [
    "AdaptiveState",
    "LookbehindState",
    "MultistepState",
    "PolicyState",
    "StochasticPerturbationState",
    "adaptive_policy",
    "ae_lookbehind_sam",
    "ae_looksam",
    "ae_sam",
    "asam",
    "asam_perturbation",
    "esam",
    "lookbehind",
    "lookbehind_asam",
    "lookbehind_sam",
    "looksam",
    "multistep",
    "multistep_asam",
    "multistep_sam",
    "periodic_policy",
    "random_policy",
    "sam",
    "sam_perturbation",
    "sharpest_examples_grad_fn",
    "ss_sam",
    "stochastic_perturbation",
]
