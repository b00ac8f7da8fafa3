"""Range checks of config values, before devices, data or files are touched.

The library checks the arguments of methods, the datasets those of their splits.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from ml_collections import ConfigDict

Range = tuple[str, Callable[[Any], bool]]

_POSITIVE: Range = ("> 0 and finite", lambda x: 0 < x < inf)
_NOT_NEGATIVE: Range = (">= 0 and finite", lambda x: 0 <= x < inf)
_FRACTION: Range = ("in [0, 1)", lambda x: 0 <= x < 1)
_COUNT: Range = (">= 1", lambda x: x >= 1)
_COUNT_OR_NONE: Range = (">= 1", lambda x: x is None or x >= 1)
# Beyond 32 bits jax.random.key would fold seeds onto each other.
_SEED: Range = ("an integer in [0, 2**32)", lambda x: 0 <= x < 2**32)

_RANGES: Mapping[str, Range] = {
    "betas": (
        "two numbers in [0, 1)",
        lambda betas: len(betas) == 2 and all(0 <= x < 1 for x in betas),
    ),
    "clip_norm": ("> 0", lambda x: x is None or x > 0),
    "dtype": ("'float32' or 'bfloat16'", lambda x: x in ("float32", "bfloat16")),
    "epsilon": _POSITIVE,
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "eval_batch_size": _COUNT,
    "eval_every": _COUNT,
    "image_size": _COUNT,
    "save_every": _COUNT,
    "save_every_steps": _COUNT_OR_NONE,
    "keep_every": _COUNT_OR_NONE,
    "label_noise": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "label_smoothing": _FRACTION,
    "learning_rate": _POSITIVE,
    "microbatches": _COUNT,
    "momentum": _FRACTION,
    "data_seed": _SEED,
    "fold": ("in [0, 4]", lambda x: x is None or 0 <= x <= 4),
    "shrink": _POSITIVE,
    "patience": _COUNT_OR_NONE,
    "restart_epochs": _COUNT,
    "seed": _SEED,
    "skip_nonfinite": _NOT_NEGATIVE,
    "train_examples": _COUNT_OR_NONE,
    "validation": _FRACTION,
    "warmup_steps": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "workers": _NOT_NEGATIVE,
    # Only some configs have these.
    "beam": _COUNT,
    "dropout": _FRACTION,
    "heads": _COUNT,
    "hidden": _COUNT,
    "horizon": _COUNT,
    "layers": _COUNT,
    "lookback": _COUNT,
    "length_penalty": _NOT_NEGATIVE,
    "max_tokens": _COUNT,
    "vocabulary": _COUNT,
    "width": _COUNT,
}


def check_ranges(config: ConfigDict) -> None:
    """Raises ValueError if a value is out of range."""
    for key, (valid, holds) in _RANGES.items():
        if key in config and not _holds(holds, config[key]):
            raise ValueError(f"{key} must be {valid}, got {config[key]!r}.")


def _holds(holds: Callable[[Any], bool], value: Any) -> bool:
    try:
        return holds(value)
    except TypeError:  # of another type, such as None
        return False
