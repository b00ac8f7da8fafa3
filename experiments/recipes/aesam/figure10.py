"""Figure 10: accuracy over epochs, ResNet-18, four fractions of wrong labels."""

from experiments.recipes.aesam import _curves, _noise

RECIPE = _curves.recipe(
    "Accuracy over epochs with wrong labels, ResNet-18", "ResNet-18", _noise.LEVELS
)
