"""Chooses the settings of the comparison by the lowest validation MSE of a run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.configs.base import with_changes
from experiments.papers.forecasting.settings import (
    CONTROL,
    HORIZONS,
    SERIES,
    Searched,
    base_config,
    chosen_file,
    regularizers,
    searched,
)
from experiments.results.search import Choice, choose


def search(scale: str, data_dir: str | None, runs: Path) -> Iterator[tuple[Path, list[Choice]]]:
    """The choices of each series and searched horizon, with their file, as they are made."""
    for series in SERIES:
        for horizon in sorted(set(HORIZONS[scale].values())):
            choices = search_series(scale, series, horizon, data_dir, runs)
            yield chosen_file(scale, series, horizon), list(choices.values())


def search_series(
    scale: str, series: str, horizon: int, data_dir: str | None, runs: Path
) -> dict[str, Choice]:
    """The chosen setting of each row, by name.

    Args:
      scale: one of ``SCALES``.
      series: the series.
      horizon: the horizon.
      data_dir: the folder of the series.
      runs: the folder of all runs.
    """
    config = with_changes(base_config(series, horizon), {"data_dir": data_dir, "eval_test": False})
    choices: dict[str, Choice] = {}
    for row in searched(scale):
        keys = {"model": row.model} | _regularizers(row, choices)
        (choices[row.name],) = choose(
            with_changes(config, keys),
            [row.candidates(scale)],
            runs,
            score=lowest_error,
            held_out=0.0,
        )
    return choices


def _regularizers(row: Searched, choices: Mapping[str, Choice]) -> dict[str, float]:
    return regularizers(row, choices[CONTROL]) if CONTROL in choices else {}


def lowest_error(history: Sequence[Mapping[str, float]]) -> float:
    """The score of a run, higher is better: minus the validation MSE of its best epoch."""
    return -min(record["val_mse"] for record in history)
