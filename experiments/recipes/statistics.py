"""Statistics over seeds: mean, deviation, paired intervals and t-tests."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from experiments.recipes.recipe import Comparison, Statistic

_LEVEL = 0.95


def statistic(values: Mapping[int, float | np.ndarray]) -> Statistic | None:
    """Mean and sample standard deviation (``ddof=1``) over seeds; None without any.

    Args:
      values: seed -> number or array; arrays of different lengths are cut to the shortest.
    """
    if not values:
        return None
    arrays = [np.asarray(value, float) for value in values.values()]
    if arrays[0].ndim:
        shortest = min(len(array) for array in arrays)
        arrays = [array[:shortest] for array in arrays]
    stacked = np.stack(arrays)
    std = stacked.std(axis=0, ddof=1) if len(stacked) > 1 else None
    return Statistic(stacked, tuple(values), stacked.mean(axis=0), std)


def compare(mine: Statistic, other: Statistic, against: str) -> Comparison | None:
    """The paired difference ``mine - other`` over the seeds that both have; None without any.

    The interval is that of Student's t with n - 1 degrees of freedom.
    """
    seeds = [seed for seed in mine.seeds if seed in other.seeds]
    if not seeds:
        return None
    return paired(_of_seeds(mine, seeds) - _of_seeds(other, seeds), against)


def paired(differences: np.ndarray, against: str = "") -> Comparison:
    """Mean, 95% interval and p-value (against 0) of paired differences.

    Equal differences have no interval, as one difference has none: those of accuracies on a few
    hundred images are equal by chance.
    """
    n, mean = len(differences), float(np.mean(differences))
    # Differences of equal fractions of images are equal up to rounding only.
    if n < 2 or np.ptp(differences) <= 1e-9 * np.max(np.abs(differences)):
        return Comparison(against, n, mean, None, None)
    error = float(stats.sem(differences))
    low, high = stats.t.interval(_LEVEL, n - 1, mean, error)
    p = 2 * stats.t.sf(abs(mean) / error, n - 1)
    return Comparison(against, n, mean, (float(low), float(high)), float(p))


def _of_seeds(statistic: Statistic, seeds: Sequence[int]) -> np.ndarray:
    return np.array([statistic.values[statistic.seeds.index(seed)] for seed in seeds])
