"""Choice of a setting on held-out data, with the same number of runs for every method."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.configs.base import with_changes
from experiments.recipes.noisy_digits import Row, Setting
from experiments.training.seeds import train_seeds

FINALISTS = 0.25  # fraction of the settings
EXTRA_SEEDS = (1, 2)
HELD_OUT = 0.2  # fraction of the training set


class Trial(NamedTuple):
    """A setting with its scores, one for each seed."""

    setting: Setting
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return sum(self.scores) / len(self.scores)


def search(settings: Sequence[Setting], score: Callable[[Setting, int], float]) -> list[Trial]:
    """Tries every setting on seed 0 and the best quarter on ``EXTRA_SEEDS`` too.

    Args:
      settings: the candidates.
      score: ``(setting, seed) -> score``, higher is better.

    Returns:
      The finalists, best first by the mean score over all seeds.
    """
    first = [Trial(setting, (score(setting, 0),)) for setting in settings]
    best = sorted(first, key=lambda trial: trial.mean, reverse=True)
    finalists = best[: round(FINALISTS * len(settings))]
    trials = [
        Trial(setting, (*scores, *(score(setting, seed) for seed in EXTRA_SEEDS)))
        for setting, scores in finalists
    ]
    return sorted(trials, key=lambda trial: trial.mean, reverse=True)


def search_rows(config: ConfigDict, rows: Mapping[str, Row]) -> dict[str, list[Trial]]:
    """The finalists of each method, by the accuracy on held-out data after the last epoch."""
    config = with_changes(config, {"validation": HELD_OUT})
    found: dict[str, list[Trial]] = {}
    with tqdm(total=sum(len(row.settings()) for row in rows.values()), unit=" settings") as bar:
        for name, row in rows.items():
            bar.set_description(name)

            def score(setting: Setting, seed: int) -> float:
                with_setting = with_changes(config, row.changes(setting))
                _, history = next(train_seeds(with_setting, [seed]))
                bar.update(seed == 0)
                return history[-1]["val_accuracy"]

            found[name] = search(row.settings(), score)
            bar.write(f"{name}: {found[name][0].setting}, {found[name][0].mean:.2%}")
    return found
