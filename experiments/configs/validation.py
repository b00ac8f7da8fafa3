"""Range checks of config values, before devices, data or files are touched.

The library checks the arguments of methods, the datasets those of their splits.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

_MAX = sys.float_info.max  # also of integers, which have no infinity
_SHOWN = 80  # letters of a value in a message

Range = tuple[str, Callable[[Any], bool]]

_POSITIVE: Range = (">= 1", lambda x: x >= 1)
_NOT_NEGATIVE: Range = (">= 0 and finite", lambda x: 0 <= x <= _MAX)
_FRACTION: Range = ("in [0, 1)", lambda x: 0 <= x < 1)
# Beyond 32 bits jax.random.key would fold seeds onto each other.
_SEED: Range = ("an integer in [0, 2**32)", lambda x: 0 <= x < 2**32)
_MAX_EPOCHS = 1_000_000


def _is_fraction(x: Any) -> bool:
    return isinstance(x, (int, float)) and 0 <= x < 1


_RANGES: Mapping[str, Range] = {
    "betas": ("two numbers in [0, 1)", lambda x: len(x) == 2 and all(map(_is_fraction, x))),
    "clip_norm": ("> 0", lambda x: x is None or x > 0),
    "dtype": ("'float32' or 'bfloat16'", lambda x: x in ("float32", "bfloat16")),
    "epsilon": ("> 0 and finite", lambda x: 0 < x <= _MAX),
    "epochs": (f"in [1, {_MAX_EPOCHS}]", lambda x: 1 <= x <= _MAX_EPOCHS),
    "batch_size": _POSITIVE,
    "eval_batch_size": _POSITIVE,
    "eval_every": _POSITIVE,
    "image_size": _POSITIVE,
    "save_every": _POSITIVE,
    "save_every_steps": (">= 1", lambda x: x is None or x >= 1),
    "keep_every": (">= 1", lambda x: x is None or x >= 1),
    "label_noise": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "label_smoothing": _FRACTION,
    "learning_rate": ("> 0 and finite", lambda x: 0 < x <= _MAX),
    "microbatches": _POSITIVE,
    "momentum": _FRACTION,
    "data_seed": _SEED,
    "fold": ("in [0, 4]", lambda x: x is None or 0 <= x <= 4),
    "shrink": _POSITIVE,
    "seed": _SEED,
    "skip_nonfinite": _NOT_NEGATIVE,
    "train_examples": (">= 1", lambda x: x is None or x >= 1),
    "validation": _FRACTION,
    "warmup_steps": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "workers": _NOT_NEGATIVE,
    # Only some configs have these.
    "beam": _POSITIVE,
    "dropout": _FRACTION,
    "heads": _POSITIVE,
    "hidden": _POSITIVE,
    "layers": _POSITIVE,
    "length_penalty": _NOT_NEGATIVE,
    "max_tokens": _POSITIVE,
    "vocabulary": _POSITIVE,
    "width": _POSITIVE,
}


def check_ranges(config: ConfigDict) -> None:
    """Raises ValueError if a value is out of range."""
    for key, (valid, holds) in _RANGES.items():
        if key in config and not holds(config[key]):
            raise ValueError(f"{key} must be {valid}, got {shown(config[key])}.")


def shown(value: Any) -> str:
    """The beginning of a value of any size."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
