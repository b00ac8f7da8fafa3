"""Figure 3: distribution of the squared norms of minibatch gradients, and Q-Q plot."""

from experiments.recipes.aesam import _normality

RECIPE = _normality.recipe(
    "Distribution of squared gradient norms, and Q-Q plot against the normal distribution",
    [("CIFAR-100", "ResNet-18")],
    [_normality.HISTOGRAM, _normality.QQ],
    (0.3, 0.6, 0.9),
    several_networks=False,
)
