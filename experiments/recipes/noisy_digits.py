"""The methods on the testbed ``configs/noisy_digits.py``: searched grids and chosen settings.

``python -m experiments.demo --search`` repeats the search (:mod:`experiments.recipes.search`): 16
settings of every method on one seed, the best four on two more, by the accuracy after the last
epoch on a fifth of the training set that is held out with correct labels. Never on the test set.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

Setting = Mapping[str, float]


class Row(NamedTuple):
    """A method with the grid of its search.

    Attributes:
      method: method string; ``{name}`` stands for a value of the setting.
      grid: key of the config, or name in ``method`` -> values.
      chosen: the best setting of the grid.
    """

    method: str
    grid: Mapping[str, tuple[float, ...]]
    chosen: Setting

    def settings(self) -> list[Setting]:
        """All settings of the grid."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
        ]

    def changes(self, setting: Setting) -> dict[str, Any]:
        """The config's keys for a setting."""
        keys = {key: value for key, value in setting.items() if f"{{{key}}}" not in self.method}
        return {"method": self.method.format(**setting), **keys}


_RATES = (0.005, 0.01, 0.02, 0.04)
_SHORT_RATES = (0.0025, 0.005, 0.01, 0.02)  # Lookbehind's steps are about k alpha times as long
_RADII = {"rho": (0.1, 0.2, 0.4, 0.8)}
_ASAM_RADII = {"rho": (0.5, 1.0, 2.0, 4.0)}

ROWS: Mapping[str, Row] = {
    "SGD": Row(
        "none",
        {"learning_rate": _SHORT_RATES, "weight_decay": (5e-4, 5e-3, 2e-2, 5e-2)},
        {"learning_rate": 0.005, "weight_decay": 2e-2},
    ),
    "SAM": Row(
        "sam:rho={rho}", {"learning_rate": _RATES, **_RADII}, {"learning_rate": 0.04, "rho": 0.4}
    ),
    "ASAM": Row(
        "asam:rho={rho}",
        {"learning_rate": _RATES, **_ASAM_RADII},
        {"learning_rate": 0.02, "rho": 2.0},
    ),
    "Lookbehind-SAM": Row(
        "lookbehind_sam:k=2,rho={rho},alpha=adaptive",
        {"learning_rate": _SHORT_RATES, "rho": (0.05, 0.1, 0.2, 0.4)},
        {"learning_rate": 0.01, "rho": 0.2},
    ),
    "AE-SAM": Row(
        "ae_sam:rho={rho}", {"learning_rate": _RATES, **_RADII}, {"learning_rate": 0.02, "rho": 0.8}
    ),
    "AE-LookSAM": Row(
        "ae_looksam:rho={rho}",
        {"learning_rate": _RATES, **_RADII},
        {"learning_rate": 0.04, "rho": 0.2},
    ),
    "AE-Lookbehind-SAM": Row(
        "ae_lookbehind_sam:k=2,rho={rho},alpha=adaptive",
        {"learning_rate": _SHORT_RATES, **_RADII},
        {"learning_rate": 0.01, "rho": 0.8},
    ),
}
