"""Figure 6: test accuracy of AE-SAM over lambda_1 and lambda_2."""

from experiments.recipes import quantities
from experiments.recipes.aesam import _lambdas

RECIPE = _lambdas.recipe(
    "Test accuracy of AE-SAM over lambda_1 and lambda_2",
    "AE-SAM",
    quantities.test_accuracy(),
    None,
)
