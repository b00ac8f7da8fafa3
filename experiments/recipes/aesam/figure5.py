"""Figure 5: %SAM of AE-SAM over lambda_1 and lambda_2."""

from experiments.recipes import quantities
from experiments.recipes.aesam import _lambdas

RECIPE = _lambdas.recipe(
    "%SAM of AE-SAM over lambda_1 and lambda_2", "AE-SAM", quantities.percent_sam(), None
)
