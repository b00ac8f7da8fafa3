"""The four tasks on which a proposed rho is compared with the best of a grid of eight."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.configs import language, noisy_digits
from experiments.configs.base import with_changes
from experiments.data.text.bytes import make_windows, read_text
from experiments.papers.cifar.settings import EXAMPLES
from experiments.papers.cifar.settings import base_config as cifar_config
from experiments.papers.forecasting.search import lowest_error
from experiments.papers.forecasting.settings import base_config as forecasting_config
from experiments.papers.forecasting.settings import minibatches
from experiments.papers.radius import propose
from experiments.results.search import (
    HELD_OUT,
    SEEDS,
    Candidates,
    Choice,
    Score,
    choose,
    held_out_accuracy,
)
from experiments.storage import disk

RADII = tuple(0.0125 * 2**i for i in range(8))
_DIGITS = 1437  # training images
FACTORS = (1, 2, 4)  # of the proposal


class Task(NamedTuple):
    """A task of the study.

    Attributes:
      title: its name in tables.
      config: its config without a method; the learning rate is that of the base optimizer.
      held_out: fraction of the training set to choose on; 0 for data with a validation set.
      score: ``history -> score`` of a run on what is held out, higher is better.
      minibatches: ``config -> minibatches of an epoch``.
    """

    title: str
    config: Callable[[], ConfigDict]
    held_out: float
    score: Score
    minibatches: Callable[[ConfigDict], int]


def _digits() -> ConfigDict:
    return with_changes(noisy_digits.get_config(), {"learning_rate": 0.04})


def _cifar() -> ConfigDict:
    return with_changes(cifar_config("noisy"), {"learning_rate": 0.1})


def _forecasting() -> ConfigDict:
    return forecasting_config("ETTh1", 96)


def _language() -> ConfigDict:
    return with_changes(language.get_config(), {"width": 64, "layers": 2, "epochs": 3})


def _lowest_loss(history: Sequence[Mapping[str, Any]]) -> float:
    # What is held out is the end of the training text: see `search_config`.
    return -history[-1]["test_loss"]


def _minibatches_of_text(config: ConfigDict) -> int:
    return len(make_windows(read_text(config.data_dir), config.length).train) // config.batch_size


TASKS: Mapping[str, Task] = {
    "digits": Task(
        "digits, 40% wrong labels",
        _digits,
        HELD_OUT,
        held_out_accuracy,
        lambda c: _DIGITS // c.batch_size,
    ),
    "cifar": Task(
        "CIFAR-10, 40% wrong labels",
        _cifar,
        HELD_OUT,
        held_out_accuracy,
        lambda c: EXAMPLES // c.batch_size,
    ),
    "forecasting": Task("ETTh1, horizon 96", _forecasting, 0.0, lowest_error, minibatches),
    "language": Task(
        "byte GPT, Python's help()", _language, 0.0, _lowest_loss, _minibatches_of_text
    ),
}


def search(name: str, data_dir: str | None, runs: Path) -> Iterator[tuple[Path, list[Choice]]]:
    """The proposal for a task, and the choices from a grid of eight and from three around it."""
    task, config = TASKS[name], search_config(name, data_dir, runs)
    proposal = propose.propose(with_changes(config, {"validation": task.held_out}), SEEDS)
    propose.write(proposed_file(name), proposal)
    for file, radii in (
        (chosen_file(name), RADII),
        (chosen_file(name, "few"), [factor * proposal.rho for factor in FACTORS]),
    ):
        grid = Candidates("sam", {"rho": radii})
        yield file, choose(config, [grid], runs, score=task.score, held_out=task.held_out)


def search_config(name: str, data_dir: str | None, runs: Path) -> ConfigDict:
    """The config of the runs that choose: without the test data."""
    config = with_changes(TASKS[name].config(), {"data_dir": data_dir})
    if name == "language":
        # A text has no validation part, so the test text is cut off, and the end of the rest takes
        # its place.
        train = make_windows(read_text(data_dir), config.length).train
        file = runs / "language_without_test.txt"
        with disk.replacing(file) as draft:
            draft.write_bytes(train[:, 1:].astype(np.uint8).tobytes())
        config = with_changes(config, {"data_dir": str(file)})
    return config


def proposed_file(name: str) -> Path:
    """Where the proposal for a task is kept."""
    return Path(__file__).parent / f"proposed_{name}.json"


def chosen_file(name: str, grid: str = "grid") -> Path:
    """Where the choice for a task is kept."""
    return Path(__file__).parent / f"chosen_{name}_{grid}.json"
