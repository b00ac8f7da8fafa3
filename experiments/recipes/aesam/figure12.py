"""Figure 12: %SAM of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels."""

from experiments.recipes import quantities
from experiments.recipes.aesam import _lambdas

RECIPE = _lambdas.recipe(
    "%SAM of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels",
    "AE-LookSAM",
    quantities.percent_sam(),
    0.8,
)
