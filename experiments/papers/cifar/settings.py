"""The setting of the comparison on CIFAR-10, its methods, and the grids of their settings.

2,500 images of 16 x 16 pixels (averages of 2 x 2), no augmentation, a network of 94,762 weights, 15
epochs: small enough for two cores. In 30 epochs at a rate of 0.05 SGD memorizes all labels, 40% of
them wrong, and falls to 26.6% test accuracy, SAM with rho = 0.3 to 32.1% (one seed); the shorter
training was chosen because there all methods are better. Wrong labels, subset and held-out part are
drawn by the run's seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import cifar
from experiments.configs.base import with_changes
from experiments.results.search import Candidates, Choice, choose, read

NOISE: Mapping[str, float] = {"noisy": 0.4, "clean": 0.0}  # kind of labels -> wrong ones
EXAMPLES = 2500

_RATES = (0.03, 0.1)
_RADII = (0.1, 0.2, 0.4, 0.8)
_HALF_RADII = (0.05, 0.1, 0.2, 0.4)  # two steps reach twice as far
_TWO_STEPS = {"k": 2, "alpha": 0.5}  # a step as long as SAM's


def _like_sam(method: str, radii: tuple[float, ...] = _RADII, **fixed: Any) -> Candidates:
    return Candidates(method, {"learning_rate": _RATES, "rho": radii}, fixed)


# Eight settings each.
METHODS: Mapping[str, Candidates] = {
    "SGD": Candidates(
        "none", {"learning_rate": (0.01, 0.03, 0.1, 0.2), "weight_decay": (5e-4, 5e-3)}
    ),
    "SAM": _like_sam("sam"),
    "ASAM": _like_sam("asam", (0.5, 1.0, 2.0, 4.0)),
    "Lookahead-SAM": _like_sam("lookahead_sam"),
    "Multistep-SAM, k = 2": _like_sam("multistep_sam", _HALF_RADII, k=2),
    "Lookbehind-SAM, k = 2": _like_sam("lookbehind_sam", _HALF_RADII, **_TWO_STEPS),
    # Rates divided by k alpha = 2.5, and radii by k.
    "Lookbehind-SAM, k = 5": Candidates(
        "lookbehind_sam",
        {"learning_rate": (0.012, 0.04), "rho": (0.02, 0.04, 0.08, 0.16)},
        {"k": 5, "alpha": 0.5},
    ),
    "AE-SAM": _like_sam("ae_sam"),
    "AE-LookSAM": _like_sam("ae_looksam"),
    "AE-Lookbehind-SAM": _like_sam("ae_lookbehind_sam", _HALF_RADII, **_TWO_STEPS),
    "Momentum-SAM": _like_sam("momentum_sam"),
    "LookSAM": _like_sam("looksam"),
    "SS-SAM, a quarter of the steps": _like_sam("ss_sam", probability=0.25),
    "Late SAM, the last fifth": _like_sam("late_sam", fraction=0.2),
    "Last gradient": _like_sam("last_gradient_sam"),
    "Random direction": _like_sam("random_direction_sam", (0.4, 0.8, 1.6, 3.2)),
}

# With right labels, where the differences are small, the methods of each kind.
COMPARED: Mapping[str, Sequence[str]] = {
    "noisy": tuple(METHODS),
    "clean": (
        "SGD",
        "SAM",
        "ASAM",
        "Lookbehind-SAM, k = 2",
        "AE-SAM",
        "Momentum-SAM",
        "Late SAM, the last fifth",
        "Random direction",
    ),
}


def base_config(labels: str) -> ConfigDict:
    """The config that all methods share, for one of the two kinds of labels."""
    return with_changes(
        cifar.get_config(),
        {
            "shrink": 2,
            "train_examples": EXAMPLES,
            "label_noise": NOISE[labels],
            "augment": False,
            "model": "cnn_cifar",
            "batch_size": 64,
            "epochs": 15,
            "learning_rate": 0.03,
            "eval_every": 5,
            "save_every": 15,
        },
    )


def search(labels: str, data_dir: str | None, runs: Path) -> Iterator[tuple[Path, list[Choice]]]:
    """The choices for a kind of labels; a fifth of the images is held out, with right labels."""
    config = with_changes(base_config(labels), {"data_dir": data_dir})
    candidates = [METHODS[name] for name in COMPARED[labels]]
    yield chosen_file(labels), choose(config, candidates, runs)


def chosen_file(labels: str) -> Path:
    """Where the choices for a kind of labels are kept."""
    return Path(__file__).parent / f"chosen_{labels}.json"


def chosen(labels: str) -> dict[str, Choice]:
    """The chosen setting of each method; empty if nothing has been chosen yet."""
    file = chosen_file(labels)
    if not file.exists():
        return {}
    choices = {(each.method, *each.fixed.items()): each for each in read(file)}
    keys = {name: (each.method, *each.fixed.items()) for name, each in METHODS.items()}
    return {name: choices[key] for name, key in keys.items() if key in choices}
