"""Choice of a setting on held-out data, with the same number of runs for every method."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.recipes.noisy_digits import Setting

FINALISTS = 4
EXTRA_SEEDS = (1, 2)


class Trial(NamedTuple):
    """A setting with its scores, one for each seed."""

    setting: Setting
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return sum(self.scores) / len(self.scores)


def search(settings: Sequence[Setting], score: Callable[[Setting, int], float]) -> list[Trial]:
    """Tries every setting on seed 0 and the best ``FINALISTS`` on ``EXTRA_SEEDS`` too.

    Args:
      settings: the candidates.
      score: ``(setting, seed) -> score``, higher is better.

    Returns:
      The finalists, best first by the mean score over all seeds.
    """
    first = [Trial(setting, (score(setting, 0),)) for setting in settings]
    finalists = sorted(first, key=lambda trial: trial.mean, reverse=True)[:FINALISTS]
    trials = [
        Trial(setting, (*scores, *(score(setting, seed) for seed in EXTRA_SEEDS)))
        for setting, scores in finalists
    ]
    return sorted(trials, key=lambda trial: trial.mean, reverse=True)
