"""Quantities that recipes take from runs."""

from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from experiments.methods.table import method
from experiments.recipes.recipe import Quantity, RunResult, Value

_MARGIN = 10.0  # points of test accuracy

# SGD's test accuracy in percent on the digits, by training images and fraction of wrong labels:
# lookbehind.table1 and aesam.table3 at scale laptop.
_SGD = {
    (704, 0.4): 68.15,
    (None, 0.2): 90.46,
    (None, 0.4): 67.87,
    (None, 0.6): 47.22,
    (None, 0.8): 19.26,
}


def test_accuracy() -> Quantity:
    """Test accuracy after the last epoch."""
    return Quantity(
        "test_accuracy",
        "test accuracy, %",
        lambda run: 100 * run.history[-1]["test_accuracy"],
    )


def best_accuracy() -> Quantity:
    """The highest test accuracy of any epoch, which is chosen on the test set."""
    return Quantity(
        "best_test_accuracy",
        "best epoch, %",
        lambda run: 100 * max(line["test_accuracy"] for line in run.history),
    )


def best_epoch() -> Quantity:
    """The epoch with the highest test accuracy, from 1; the first of several."""
    return Quantity(
        "best_epoch",
        "epoch of the best test accuracy",
        lambda run: 1.0 + np.argmax([line["test_accuracy"] for line in run.history]),
        decimals=1,
        higher_is_better=None,
    )


def train_accuracy() -> Quantity:
    """Training accuracy of the last epoch, on the labels trained on, during training."""
    return Quantity(
        "train_accuracy",
        "training accuracy, %",
        lambda run: 100 * run.history[-1]["train_accuracy"],
        higher_is_better=None,
    )


def train_loss() -> Quantity:
    """Mean training loss of the last epoch, during training."""
    return Quantity(
        "train_loss",
        "training loss",
        lambda run: run.history[-1]["train_loss"],
        decimals=3,
        higher_is_better=False,
    )


def percent_sam() -> Quantity:
    """%SAM: sharpness-aware steps, in percent of all."""

    def value(run: RunResult) -> Value:
        if "train_applied" in run.history[-1]:
            return 100 * float(np.mean([line["train_applied"] for line in run.history]))
        return 100.0 if method(run.config.method).ascent_steps else 0.0

    return Quantity("percent_sam", "%SAM", value, decimals=1, higher_is_better=None)


def step_milliseconds() -> Quantity:
    """Time of a training step in the fastest epoch, which other programs disturb least."""

    def value(run: RunResult) -> Value | None:
        rates = [line["images_per_second"] for line in run.history if "images_per_second" in line]
        return 1000 * run.config.batch_size / max(rates) if rates else None

    return Quantity("step_milliseconds", "ms a step", value, decimals=1, higher_is_better=False)


def curve(metric: str, label: str, scale: float = 1.0, decimals: int = 3) -> Quantity:
    """A logged metric over epochs; runs that do not log it do not have the quantity."""

    def value(run: RunResult) -> Value | None:
        if metric not in run.history[-1]:
            return None
        return scale * np.array([line[metric] for line in run.history], float)

    return Quantity(f"{metric}_curve", label, value, decimals, higher_is_better=None)


def measured(
    key: str,
    label: str,
    measure: str,
    value: Callable[[dict], Value],
    decimals: int = 4,
    higher_is_better: bool | None = False,
) -> Quantity:
    """A quantity computed from the result of a measure of ``experiments.analyze``."""
    return Quantity(
        key,
        label,
        lambda run: value(dict(run.measures[measure])),
        decimals,
        higher_is_better,
    )


def trained(config: ConfigDict, accuracy: float) -> bool:
    """Whether a test accuracy is at most ten points below SGD's.

    Where SGD's accuracy is not known every run counts as trained.

    Args:
      config: the run's config.
      accuracy: its test accuracy in percent.
    """
    known = config.get("dataset") == "digits" and "label_noise" in config
    sgd = _SGD.get((config.train_examples, config.label_noise)) if known else None
    return sgd is None or accuracy >= sgd - _MARGIN
