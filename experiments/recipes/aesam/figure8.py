"""Figure 8: distribution of squared gradient norms of more networks."""

from experiments.recipes.aesam import _gradients, _normality

PAIRS = [(d, n) for d in ("CIFAR-10", "CIFAR-100") for n in _gradients.NETWORKS]

RECIPE = _normality.recipe(
    "Distribution of squared gradient norms on several networks",
    PAIRS,
    [_normality.HISTOGRAM],
    (0.3, 0.6, 0.9),
    several_networks=True,
)
