"""A synthetic series, so that a run needs no file. Its errors say nothing about real data."""

import numpy as np

from experiments.data.series.table import Series

SYNTHETIC = "synthetic"  # its name

_HOURS = 24 * 30 * 20  # 20 months, as many as the usual split of ETTh1 uses
_CHANNELS = 7
_DECAY = 0.9  # of the noise, from one hour to the next


def synthetic_series(hours: int = _HOURS, channels: int = _CHANNELS, seed: int = 0) -> Series:
    """Daily and weekly waves, a level that drifts, and noise that the channels share.

    Args:
      hours: number of rows.
      channels: number of channels; each has phases and amplitudes of its own.
      seed: determines everything that is drawn.
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    time = np.arange(hours)[:, None]
    waves = sum(
        rng.uniform(0.5, 1.5, channels)
        * np.sin(2 * np.pi * (time / period + rng.uniform(0, 1, channels)))
        for period in (24, 24 * 7)
    )
    level = np.cumsum(rng.normal(0, 0.01, (hours, channels)), axis=0)
    noise = lfilter([1], [1, -_DECAY], rng.normal(0, 0.3, (hours, channels)), axis=0)
    mixing = rng.normal(0, channels**-0.5, (channels, channels))
    names = tuple(f"channel {number}" for number in range(1, channels + 1))
    return Series(SYNTHETIC, waves + level + noise @ mixing, names)
