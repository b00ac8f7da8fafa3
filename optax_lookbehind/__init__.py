"""Sharpness-aware training for any Optax code base: SAM, ASAM, Lookbehind and when to use them."""

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
from optax_lookbehind._perturbation import asam_perturbation, sam_perturbation

__all__ = [
    "LookbehindState",
    "MultistepState",
    "asam",
    "asam_perturbation",
    "lookbehind",
    "lookbehind_asam",
    "lookbehind_sam",
    "multistep",
    "multistep_asam",
    "multistep_sam",
    "sam",
    "sam_perturbation",
]
