"""Figure 4: training and test accuracy over epochs with 80% wrong labels."""

from experiments.recipes.aesam import _curves

RECIPE = _curves.recipe("Accuracy over epochs with 80% wrong labels", "ResNet-18", [0.8])
