"""Figure 13: test accuracy of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels."""

from experiments.recipes import quantities
from experiments.recipes.aesam import _lambdas

RECIPE = _lambdas.recipe(
    "Test accuracy of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels",
    "AE-LookSAM",
    quantities.test_accuracy(),
    0.8,
)
