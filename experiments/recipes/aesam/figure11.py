"""Figure 11: accuracy over epochs, ResNet-32, four fractions of wrong labels."""

from experiments.recipes.aesam import _curves, _noise

RECIPE = _curves.recipe(
    "Accuracy over epochs with wrong labels, ResNet-32", "ResNet-32", _noise.LEVELS, laptop_seeds=2
)
