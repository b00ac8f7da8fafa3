"""Sharpness-aware training for any Optax code base: SAM, ASAM, Lookbehind-SAM, AE-SAM and more."""

from optax_lookbehind._aliases.combination_methods import (
    gnp,
    gsam,
    saner,
    stable_sam,
    wsam,
    xsam,
)
from optax_lookbehind._aliases.lookbehind_methods import lookbehind_asam, lookbehind_sam
from optax_lookbehind._aliases.multistep_methods import (
    asam,
    esam,
    multistep_asam,
    multistep_sam,
    sam,
)
from optax_lookbehind._aliases.perturbation_methods import (
    friendly_sam,
    le_sam,
    sam_on,
    usam,
    vasso,
)
from optax_lookbehind._aliases.policy_methods import (
    ae_lookbehind_sam,
    ae_looksam,
    ae_sam,
    late_sam,
    looksam,
    ss_sam,
)
from optax_lookbehind._budget_perturbation import budget_perturbation
from optax_lookbehind._check_grad_fn import check_grad_fn
from optax_lookbehind._combinations import (
    Combination,
    CombinationState,
    combination,
    down_weighted,
    renormalized,
    surrogate_gap,
    weighted,
)
from optax_lookbehind._core.devices import per_device_params
from optax_lookbehind._core.policy import Policy, PolicyState
from optax_lookbehind._core.types import GradFn, ValueAndGrads
from optax_lookbehind._filters import FilterState, friendly_filter, vasso_filter
from optax_lookbehind._gradient_functions import (
    functional_grad_fn,
    sharpest_examples_grad_fn,
    value_and_grad,
)
from optax_lookbehind._interpolated import interpolated
from optax_lookbehind._lookbehind import LookbehindState, lookbehind
from optax_lookbehind._momentum_sam import (
    MomentumSAMState,
    momentum_sam,
    momentum_sam_eval_params,
)
from optax_lookbehind._multistep import MultistepState, multistep
from optax_lookbehind._perturbations import (
    StochasticPerturbationState,
    asam_perturbation,
    masked_perturbation,
    sam_perturbation,
    stochastic_perturbation,
)
from optax_lookbehind._policies import (
    AdaptiveState,
    adaptive_policy,
    late_policy,
    periodic_policy,
    random_policy,
)
from optax_lookbehind._reuse_direction import ReuseDirectionState, reuse_direction
from optax_lookbehind._rms_perturbation import RMSPerturbationState, rms_perturbation
from optax_lookbehind._wsam_decoupled import WSAMDecoupledState, wsam_decoupled

__version__ = "0.1.0"

__all__ = [
    "AdaptiveState",
    "Combination",
    "CombinationState",
    "FilterState",
    "GradFn",
    "LookbehindState",
    "MomentumSAMState",
    "MultistepState",
    "Policy",
    "PolicyState",
    "RMSPerturbationState",
    "ReuseDirectionState",
    "StochasticPerturbationState",
    "ValueAndGrads",
    "WSAMDecoupledState",
    "adaptive_policy",
    "ae_lookbehind_sam",
    "ae_looksam",
    "ae_sam",
    "asam",
    "asam_perturbation",
    "budget_perturbation",
    "check_grad_fn",
    "combination",
    "down_weighted",
    "esam",
    "friendly_filter",
    "friendly_sam",
    "functional_grad_fn",
    "gnp",
    "gsam",
    "interpolated",
    "late_policy",
    "late_sam",
    "le_sam",
    "lookbehind",
    "lookbehind_asam",
    "lookbehind_sam",
    "looksam",
    "masked_perturbation",
    "momentum_sam",
    "momentum_sam_eval_params",
    "multistep",
    "multistep_asam",
    "multistep_sam",
    "per_device_params",
    "periodic_policy",
    "random_policy",
    "renormalized",
    "reuse_direction",
    "rms_perturbation",
    "sam",
    "sam_on",
    "sam_perturbation",
    "saner",
    "sharpest_examples_grad_fn",
    "ss_sam",
    "stable_sam",
    "stochastic_perturbation",
    "surrogate_gap",
    "usam",
    "value_and_grad",
    "vasso",
    "vasso_filter",
    "weighted",
    "wsam",
    "wsam_decoupled",
    "xsam",
]
