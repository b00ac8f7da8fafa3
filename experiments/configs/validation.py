"""What values of a config must be, where nobody else says so before training begins.

The library checks what its transformations are given, the data sets what is asked of them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

Range = tuple[str, Callable[[Any], bool]]

_AT_LEAST_ONE: Range = (">= 1", lambda x: x >= 1)
_NOT_NEGATIVE: Range = (">= 0 and finite", lambda x: 0 <= x < math.inf)
_BELOW_ONE: Range = ("in [0, 1)", lambda x: 0 <= x < 1)

_RANGES: Mapping[str, Range] = {
    "dtype": ("'float32' or 'bfloat16'", lambda x: x in ("float32", "bfloat16")),
    "epochs": _AT_LEAST_ONE,
    "eval_batch_size": _AT_LEAST_ONE,
    "image_size": _AT_LEAST_ONE,
    "keep_every": (">= 1", lambda x: x is None or x >= 1),
    "label_smoothing": _BELOW_ONE,
    "learning_rate": ("> 0 and finite", lambda x: 0 < x < math.inf),
    "momentum": _BELOW_ONE,
    "noise_seed": _NOT_NEGATIVE,
    "skip_nonfinite": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "workers": _NOT_NEGATIVE,
}


def check_ranges(config: ConfigDict) -> None:
    """Raises ValueError where a value is out of range."""
    for key, (what, holds) in _RANGES.items():
        if not holds(config[key]):
            raise ValueError(f"{key} must be {what}, got {config[key]!r}.")
