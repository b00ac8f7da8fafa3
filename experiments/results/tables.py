"""How numbers, deviations and differences are written in tables."""

import numpy as np
from numpy.typing import ArrayLike

from experiments.results.stats import Difference, summary

DASH = "-"  # a number that a row does not have


def number(value: float | None, decimals: int) -> str:
    """A number, or a dash if there is none or it is not finite."""
    return DASH if value is None or not np.isfinite(value) else f"{value:.{decimals}f}"


def plus_minus(mean: float | None, std: float | None, decimals: int) -> str:
    """``mean ± std``, without the deviation if there is none."""
    if mean is None or std is None:
        return number(mean, decimals)
    return f"{number(mean, decimals)} ± {number(std, decimals)}"


def mean_and_std(values: ArrayLike, decimals: int) -> str:
    """Mean ± sample standard deviation over seeds, or the value that all of them share."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return f"{values[0]:g}"
    return plus_minus(float(values.mean()), float(values.std(ddof=1)), decimals)


def two_digits(values: ArrayLike) -> str:
    """Mean ± deviation, rounded to two significant digits of the deviation."""
    values = np.asarray(values, float)
    found = summary(values)
    if not np.isfinite(found.mean):
        return "not finite"
    if found.std is None or found.std == 0:
        return f"{found.mean:.4g}"
    decimals = max(0, 1 - int(np.floor(np.log10(found.std))))
    return plus_minus(float(found.mean), float(found.std), decimals)


def difference(found: Difference, decimals: int) -> str:
    """A signed mean difference with its 95% interval; a dash in brackets if it has none."""
    if found.interval is None:
        return f"{found.mean:+.{decimals}f} [{DASH}]"
    low, high = found.interval
    return f"{found.mean:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"
