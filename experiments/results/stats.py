"""Statistics over seeds: mean and deviation, paired differences, corrections and margins."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
_EQUAL = 1e-9  # relative; equal fractions of images have differences that are equal up to rounding


class Summary(NamedTuple):
    """Values over seeds.

    Attributes:
      n: number of seeds.
      mean: mean over seeds.
      std: sample standard deviation (``ddof=1``); None for one seed.
    """

    n: int
    mean: np.ndarray
    std: np.ndarray | None


class Difference(NamedTuple):
    """Paired difference of two rows over the seeds that both have.

    Attributes:
      n: number of pairs.
      mean: mean difference.
      interval: its 95% interval (Student's t with n - 1 degrees of freedom); None for one pair, and
        for pairs whose differences are all equal, which say nothing about other seeds.
      p: two-sided p-value of the paired t-test; None without an interval.
    """

    n: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None


def summary(values: ArrayLike) -> Summary:
    """Mean and deviation over the first axis, ``[seed, ...]``."""
    array = np.asarray(values, float)
    with np.errstate(invalid="ignore"):  # a loss may be infinite
        std = array.std(axis=0, ddof=1) if len(array) > 1 else None
    return Summary(len(array), array.mean(axis=0), std)


def paired(differences: ArrayLike) -> Difference:
    """Mean, 95% interval and p-value of paired differences, one for each seed."""
    differences = np.asarray(differences, float)
    n, mean = len(differences), float(np.mean(differences))
    if n < 2 or np.ptp(differences) <= _EQUAL * np.max(np.abs(differences)):
        return Difference(n, mean, None, None)
    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(LEVEL)
    return Difference(n, mean, (float(low), float(high)), float(test.pvalue))


def compare(mine: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """The difference ``mine - other`` over the seeds that both have; None if there is none.

    Args:
      mine: seed -> value.
      other: seed -> value.
    """
    seeds = [seed for seed in mine if seed in other]
    return paired([mine[seed] - other[seed] for seed in seeds]) if seeds else None


def half_interval(values: ArrayLike) -> float | None:
    """Half the 95% interval of a mean over seeds (Student's t); None for one seed."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return None
    return float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's method, which controls the family-wise error.

    The i-th smallest of n, from 0, is multiplied by n - i, and never smaller than the one before.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.take(p_values, order) * factors))
    return [float(p) for p in adjusted[np.argsort(order)]]


def not_worse(differences: ArrayLike, margin: float) -> bool | None:
    """Non-inferiority: whether the mean difference is above ``-margin``.

    Args:
      differences: paired differences, one for each seed; larger is better.
      margin: a loss of this size would not matter; > 0.

    Returns:
      True if the one-sided 95% interval of the mean lies above ``-margin``; False if it does not;
      None for fewer than two differences, which have no interval.
    """
    if not margin > 0:
        raise ValueError(f"margin must be > 0, got {margin}.")
    differences = np.asarray(differences, float)
    if len(differences) < 2:
        return None
    lowest = np.mean(differences) - stats.t.ppf(LEVEL, len(differences) - 1) * stats.sem(
        differences
    )
    return bool(lowest > -margin)


def verdict(
    mine: Mapping[int, float], other: Mapping[int, float], margin: float, p: float | None
) -> Literal["no worse", "worse", "undecided"]:
    """Whether values are no worse than others by a margin; larger is better.

    "no worse" by :func:`not_worse`; else "worse" if the mean is lower and p below 0.05.

    Args:
      mine: seed -> value.
      other: seed -> value.
      margin: a loss of this size would not matter; > 0.
      p: p-value of the paired difference, corrected for the comparisons beside it; None: unknown.
    """
    differences = [mine[seed] - other[seed] for seed in mine if seed in other]
    if not_worse(differences, margin):
        return "no worse"
    worse = p is not None and p < 1 - LEVEL and np.mean(differences) < 0
    return "worse" if worse else "undecided"


def trained(accuracies: ArrayLike, threshold: float | None) -> bool:
    """Whether the runs of a row have trained: whether their mean accuracy reaches a threshold.

    Without runs, or without a threshold because nothing is known about the data, they count as
    trained.
    """
    accuracies = np.asarray(accuracies, float)
    return threshold is None or not accuracies.size or bool(accuracies.mean() >= threshold)
