"""Figure 9: Q-Q plots of squared gradient norms of more networks."""

from experiments.recipes.aesam import _normality, figure8

RECIPE = _normality.recipe(
    "Q-Q plots of squared gradient norms on several networks",
    figure8.PAIRS,
    [_normality.QQ],
    (0.3, 0.6, 0.9),
    several_networks=True,
)
