"""Quantities of the flatness measures: m-sharpness, weight noise, gradients of minibatches."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import probplot

from experiments.recipes.quantities import measured
from experiments.recipes.recipe import LAPTOP, MeasureSpec, Quantity

# Radii of Figure 3; the laptop's networks are small, and their radii too.
_SAM_RADII = (0.05, *np.arange(0.5, 5.01, 0.5))
_ASAM_RADII = tuple(np.arange(0.5, 5.01, 0.5))
_LAPTOP_RADII = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_LAPTOP_ASAM_RADII = (0.5, 1.0, 2.0, 4.0, 8.0)
_SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def m_sharpness_measure(scale: str) -> list[MeasureSpec]:
    """m-sharpness in the balls of SAM and ASAM; m is the batch size."""
    sam, asam = (
        (_LAPTOP_RADII, _LAPTOP_ASAM_RADII) if scale == LAPTOP else (_SAM_RADII, _ASAM_RADII)
    )
    return [
        MeasureSpec("m_sharpness", (f"--radii={_numbers(sam)}", f"--asam_radii={_numbers(asam)}"))
    ]


def m_sharpness_at(radius_index: int) -> Quantity:
    """m-sharpness at one of SAM's radii."""
    return measured(
        "m_sharpness", "m-sharpness", "m_sharpness", lambda found: found["sam"][radius_index]
    )


def checkpoint_loss() -> Quantity:
    """Training loss at the last checkpoint, BatchNorm with its running statistics."""
    return measured("loss", "training loss", "m_sharpness", lambda found: found["loss"])


def m_sharpness_curves() -> list[Quantity]:
    """m-sharpness over the radius in both balls, with the radii."""
    quantities = []
    for ball, radii in ("sam", "radii"), ("asam", "asam_radii"):
        label = f"m-sharpness ({ball.upper()}'s ball)"
        quantities += [
            _array(f"{ball}_sharpness", label, "m_sharpness", ball),
            _array(f"x_{ball}_sharpness", "radius", "m_sharpness", radii),
        ]
    return quantities


def noise_measure(scale: str) -> list[MeasureSpec]:
    """Accuracy with each weight times N(1, sigma^2)."""
    del scale
    return [MeasureSpec("weight_noise", (f"--sigmas={_numbers(_SIGMAS)}", "--draws=10"))]


def noise_quantities() -> list[Quantity]:
    """Accuracy under noise: at sigma = 0.3, and over sigma."""
    middle = _SIGMAS.index(0.3)
    return [
        measured(
            "noisy_accuracy",
            "test accuracy at sigma = 0.3, %",
            "weight_noise",
            lambda found: 100 * found["accuracy"][middle],
            decimals=2,
            higher_is_better=True,
        ),
        _array("accuracy_over_sigma", "test accuracy, %", "weight_noise", "accuracy", 100),
        _array("x_accuracy_over_sigma", "sigma", "weight_noise", "sigmas"),
    ]


def gradient_measure(scale: str, samples: int = 0) -> list[MeasureSpec]:
    """Gradients of minibatches at each kept checkpoint, BatchNorm as in training."""
    del scale
    return [
        MeasureSpec("gradient_epochs", ("--batchnorm=batch", f"--sampled_minibatches={samples}"))
    ]


def gradient_curves(*keys: str) -> list[Quantity]:
    """Mean over the checkpoints of the first key, and curves of all keys over their epochs."""
    labels = {
        "variance": "variance of the gradient",
        "expected_squared_norm": "mean squared norm of a minibatch gradient",
        "squared_norm": "squared norm of the full gradient",
    }
    first = keys[0]
    quantities = [
        measured(
            f"mean_{first}",
            f"{labels[first]}, mean over epochs",
            "gradient_epochs",
            lambda found: float(np.mean(found[first])),
        ),
        measured(
            f"last_{first}",
            f"{labels[first]}, last epoch",
            "gradient_epochs",
            lambda found: found[first][-1],
        ),
    ]
    for key in keys:
        quantities += [
            _array(key, labels[key], "gradient_epochs", key),
            _array(f"x_{key}", "epoch", "gradient_epochs", "epochs"),
        ]
    return quantities


def gradient_samples(fractions: Sequence[float] = (0.3, 0.6, 0.9)) -> list[Quantity]:
    """Squared norms of random minibatch gradients at some epochs, and how normal they are.

    Args:
      fractions: of all epochs; the nearest kept checkpoints are taken.
    """

    def chosen(found: dict) -> list[int]:
        epochs = np.array(found["epochs"], float)
        return [int(np.argmin(abs(epochs - f * epochs[-1]))) for f in fractions]

    def correlation(found: dict) -> float:
        norms = [np.array(found["sampled_squared_norms"][i]) for i in chosen(found)]
        return float(np.mean([probplot(each)[1][2] for each in norms]))

    return [
        measured(
            "normal_correlation",
            "correlation of the Q-Q plot",
            "gradient_epochs",
            correlation,
            higher_is_better=True,
        ),
        measured(
            "sampled_squared_norms",
            "squared norm of a minibatch gradient",
            "gradient_epochs",
            lambda found: np.array([found["sampled_squared_norms"][i] for i in chosen(found)]),
        ),
        measured(
            "sampled_epochs",
            "epoch",
            "gradient_epochs",
            lambda found: np.array([found["epochs"][i] for i in chosen(found)], float),
        ),
    ]


def _array(key: str, label: str, measure: str, entry: str, scale: float = 1.0) -> Quantity:
    return measured(key, label, measure, lambda found: scale * np.array(found[entry], float))


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
