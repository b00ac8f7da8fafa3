"""The methods on the testbed ``configs/noisy_digits.py``: searched grids and chosen settings.

``python -m experiments.demo --search`` repeats the search (:mod:`experiments.recipes.search`): all
settings of a method on one seed, the best quarter on two more, by the accuracy after the last epoch
on a fifth of the training set that is held out with correct labels. Never on the test set. The
methods of the demo have 16 settings each, the further ones 8: half of the learning rates.

The wrong labels are the same for all seeds, in the search and in the test.
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

_SAM_RATES = (0.02, 0.04)  # the upper half: there SAM and ASAM are best
_LOOKBEHIND_RATES = (0.005, 0.01)  # the middle: there Lookbehind with k = 2 is best


def _like_sam(method: str, radii: tuple[float, ...], chosen: tuple[float, float]) -> Row:
    """A method with steps as long as SAM's; ``chosen``: learning rate and rho."""
    grid = {"learning_rate": _SAM_RATES, "rho": radii}
    return Row(f"{method}:rho={{rho}}", grid, dict(zip(grid, chosen, strict=True)))


_SAM_RADII = _RADII["rho"]

FURTHER_ROWS: Mapping[str, Row] = {
    "Momentum-SAM": Row(
        "momentum_sam:rho={rho}",
        {"learning_rate": _LOOKBEHIND_RATES, **_RADII},
        {"learning_rate": 0.005, "rho": 0.8},
    ),
    "LookSAM": _like_sam("looksam", _SAM_RADII, (0.04, 0.4)),
    "SS-SAM": _like_sam("ss_sam", _SAM_RADII, (0.02, 0.8)),
    "ESAM": _like_sam("esam", _SAM_RADII, (0.02, 0.2)),
    "SAM-ON": _like_sam("sam_on", (0.5, 1.0, 2.0, 4.0), (0.02, 2)),
    "Friendly SAM": _like_sam("friendly_sam", _SAM_RADII, (0.04, 0.4)),
    "VaSSO": _like_sam("vasso", _SAM_RADII, (0.02, 0.4)),
    "USAM": _like_sam("usam", (0.05, 0.1, 0.2, 0.4), (0.02, 0.4)),
    "GSAM": _like_sam("gsam", _SAM_RADII, (0.02, 0.2)),
    "GNP": _like_sam("gnp", _SAM_RADII, (0.02, 0.4)),
    # It weighs the sharpness nine times as much as SAM, so the radii are about a ninth.
    "WSAM (coupled)": _like_sam("wsam", (0.0125, 0.025, 0.05, 0.1), (0.02, 0.05)),
    "WSAM": _like_sam("wsam_decoupled", _SAM_RADII, (0.04, 0.4)),
    "Stable SAM": _like_sam("stable_sam", _SAM_RADII, (0.04, 0.4)),
    "SANER": _like_sam("saner", _SAM_RADII, (0.02, 0.2)),
    "Multistep-SAM": _like_sam("multistep_sam", (0.05, 0.1, 0.2, 0.4), (0.04, 0.2)),
    "Lookbehind-ASAM": Row(
        "lookbehind_asam:k=2,rho={rho},alpha=adaptive",
        {"learning_rate": _LOOKBEHIND_RATES, "rho": (0.25, 0.5, 1.0, 2.0)},
        {"learning_rate": 0.005, "rho": 1},
    ),
    "Lookbehind-SAM (k = 5)": Row(
        "lookbehind_sam:k=5,rho={rho},alpha=0.5",
        {"learning_rate": _LOOKBEHIND_RATES, "rho": (0.05, 0.1, 0.2, 0.4)},
        {"learning_rate": 0.005, "rho": 0.1},
    ),
}
