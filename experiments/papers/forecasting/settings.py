"""The rows of the comparison: method, model and the grid of settings to choose from.

Every row has as many settings as the others, 8 at scale laptop and 16 at scale paper. They are
chosen by the validation error (``search.py``), for each series and searched horizon.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import forecasting
from experiments.configs.base import with_changes
from experiments.results.item import LAPTOP, PAPER
from experiments.results.search import Candidates, Choice, read

SERIES = ("ETTh1", "ETTh2")
# Scale -> horizon -> the horizon whose chosen settings it has.
HORIZONS: Mapping[str, Mapping[int, int]] = {
    LAPTOP: {96: 96, 336: 96},
    PAPER: {96: 96, 192: 96, 336: 336, 720: 336},
}
# The published patience of 5 epochs is one period of the learning rate, whose restarts raise the
# validation error for some epochs.
PATIENCE = 10

LINEAR, PUBLISHED, CONTROL = "linear map", "Adam, published", "Adam, tuned"
SAM, MOMENTUM_SAM = "SAM", "Momentum-SAM"
REGULARIZED = "SAM, regularized"  # with the control's dropout and weight decay
REGULARIZERS = ("dropout", "weight_decay")

_RATES = {LAPTOP: (2e-4, 1e-3), PAPER: (1e-4, 2e-4, 5e-4, 1e-3)}
_RADII = (0.1, 0.3, 0.5, 0.8)
_HALF_RADII = (0.05, 0.15, 0.25, 0.4)  # two steps reach twice as far
_ASAM_RADII = (1.0, 3.0, 10.0, 30.0)
# Behind Lookbehind, Adam ignores the length of its steps: it is chained, and the rate not divided.
_CHAINED = {"k": 2, "alpha": "adaptive", "fast_optimizer": False}
_ADAPTIVE = {"k": 2, "alpha": "adaptive"}


class Searched(NamedTuple):
    """A row whose settings are chosen.

    Attributes:
      name: its name in tables.
      method: its name in the table of methods.
      grid: what is searched besides the learning rate.
      fixed: arguments of the method that are not searched.
      model: "samformer" or "linear".
      full: whether only scale paper has the row.
    """

    name: str
    method: str
    grid: Mapping[str, Sequence[float]]
    fixed: Mapping[str, Any] = MappingProxyType({})
    model: str = "samformer"
    full: bool = False

    def candidates(self, scale: str) -> Candidates:
        """The settings to choose from."""
        return Candidates(
            self.method, {"learning_rate": _RATES[scale], **self.grid}, dict(self.fixed)
        )


_ROWS = (
    Searched(LINEAR, "none", {"dropout": (0.0, 0.2, 0.5, 0.8)}, model="linear"),
    Searched(CONTROL, "none", {"dropout": (0.5, 0.8), "weight_decay": (0.0, 3.0)}),
    Searched(SAM, "sam", {"rho": _RADII}),
    Searched("ASAM", "asam", {"rho": _ASAM_RADII}),
    Searched(MOMENTUM_SAM, "momentum_sam", {"rho": _RADII}),
    Searched("AE-SAM", "ae_sam", {"rho": _RADII}),
    Searched("Lookbehind-SAM", "lookbehind_sam", {"rho": _HALF_RADII}, _CHAINED),
    Searched("AE-Lookbehind-SAM", "ae_lookbehind_sam", {"rho": _HALF_RADII}, _ADAPTIVE),
    Searched(REGULARIZED, "sam", {"rho": _RADII}),
    Searched("GSAM", "gsam", {"rho": _RADII}, full=True),
    Searched("Friendly SAM", "friendly_sam", {"rho": _RADII}, full=True),
)


def searched(scale: str) -> list[Searched]:
    """The rows whose settings are chosen at a scale, the control before what has its settings."""
    return [row for row in _ROWS if scale == PAPER or not row.full]


def base_config(series: str, horizon: int) -> ConfigDict:
    """The published recipe without regularization, with a longer patience."""
    return with_changes(
        forecasting.get_config(),
        {
            "dataset": series,
            "horizon": horizon,
            "optimizer": "adamw",  # without weight decay: Adam
            "patience": PATIENCE,
            "save_every": 40,
        },
    )


def minibatches(config: ConfigDict) -> int:
    """Number of minibatches of an epoch."""
    windows = config.split[0] - config.lookback - config.horizon + 1
    return windows // config.batch_size


def chosen_file(scale: str, series: str, horizon: int) -> Path:
    """Where the choices for a series and a searched horizon are kept."""
    return Path(__file__).parent / f"chosen_{scale}_{series}_{horizon}.json"


def is_chosen(scale: str) -> bool:
    """Whether all settings of a scale have been chosen."""
    searches = {(series, source) for series in SERIES for source in HORIZONS[scale].values()}
    return all(chosen_file(scale, *each).exists() for each in searches)


def chosen(scale: str, series: str, horizon: int) -> dict[str, Choice]:
    """The chosen setting of each row; the file has them in the order of :func:`searched`."""
    choices = read(chosen_file(scale, series, HORIZONS[scale][horizon]))
    return dict(zip([row.name for row in searched(scale)], choices, strict=True))


def changes(row: Searched, choice: Choice, control: Choice) -> dict[str, Any]:
    """The config's keys of a row with its chosen setting."""
    return {"model": row.model} | regularizers(row, control) | choice.changes


def regularizers(row: Searched, control: Choice) -> dict[str, Any]:
    """The control's dropout and weight decay, for the row that has them."""
    if row.name != REGULARIZED:
        return {}
    return {key: control.setting[key] for key in REGULARIZERS}
