"""Figures 1 to 3, 7 to 9, 14 and 15: gradients and loss during training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import probplot

from experiments.papers.aesam import settings
from experiments.papers.setting import laptop_limits, shown_in
from experiments.results import drawings, figures, line_drawings, metrics
from experiments.results.item import LAPTOP, Item, Options
from experiments.results.metrics import Metric
from experiments.results.row import Row
from experiments.results.table import Table

_NETWORKS = ("ResNet-18", "WRN-28-10", "PyramidNet-110")
_CIFAR_100 = [("CIFAR-100", network) for network in _NETWORKS]
_BOTH = [(dataset, network) for dataset in ("CIFAR-10", "CIFAR-100") for network in _NETWORKS]
_SEEDS = {"laptop": 3, "paper": 5}
_LIMITS = {LAPTOP: laptop_limits("a ResNet of six layers and a WRN-10-1")}
_CHOICES = (
    "Networks, number of minibatches and BatchNorm's mode are not stated: the networks of Figure "
    "8, all training images without augmentation (2,048 of CIFAR's), each minibatch with its own "
    "statistics.",
    "The figure is at the checkpoints that are kept: ten in a run (five at scale laptop).",
)
_LABELS = {
    "variance": "variance of the gradient",
    "expected_squared_norm": "mean squared norm of a minibatch gradient",
    "squared_norm": "squared norm of the full gradient",
}
_FRACTIONS = (0.3, 0.6, 0.9)  # of all epochs: the nearest kept checkpoints
_SAMPLES = 400


def _rows(pairs: Sequence[tuple[str, str]], *names: str) -> Callable[[str], list[Row]]:
    """A setting for each network and dataset, with these methods."""
    return lambda scale: [
        setting.row(name, settings.methods()[name])
        for setting in settings.networks(scale, pairs)
        for name in names
    ]


def _gradients(samples: int = 0) -> Callable[[str], Options]:
    """Gradients of minibatches at each kept checkpoint, BatchNorm as in training."""
    options = {"batchnorm": "batch", "sampled_minibatches": samples}
    return lambda scale: {"gradient_epochs": options}


def _curves(*names: str) -> list[Metric]:
    """Mean over checkpoints and last value of the first metric, and curves of all of them."""
    first = names[0]

    def mean(rows: Table) -> float:
        return float(np.mean([row["value"] for row in rows]))

    return [
        metrics.measured(
            "gradient_epochs",
            first,
            f"{_LABELS[first]}, mean over epochs",
            called=f"mean_{first}",
            at=mean,
        ),
        metrics.measured(
            "gradient_epochs",
            first,
            f"{_LABELS[first]}, last epoch",
            called=f"last_{first}",
            at=metrics.place(-1, "epoch"),
        ),
        *(metrics.measured("gradient_epochs", name, _LABELS[name]) for name in names),
    ]


def _near(rows: Table) -> list[Mapping[str, Any]]:
    """The samples at the checkpoints nearest to the fractions of the epochs."""
    epochs = np.array(rows.distinct("epoch"))
    chosen = [epochs[np.argmin(abs(epochs - fraction * epochs[-1]))] for fraction in _FRACTIONS]
    return [row for epoch in chosen for row in rows.where(epoch=epoch)]


def _correlation(rows: Table) -> float:
    """Mean correlation of the Q-Q plots against the normal distribution."""
    samples = Table(_near(rows)).group("epoch").values()
    return float(np.mean([probplot([row["value"] for row in each])[1][2] for each in samples]))


def _normality(title: str, rows: Callable[[str], list[Row]], *kinds: drawings.Kind) -> Item:
    """A histogram or Q-Q plot, or both, of squared gradient norms."""
    name = "sampled_squared_norm"
    return Item(
        title=title,
        rows=rows,
        seeds=_SEEDS,
        metrics=[
            metrics.measured(
                "gradient_epochs",
                name,
                "correlation of the Q-Q plot",
                called="normal_correlation",
                at=_correlation,
                higher_is_better=True,
            ),
            metrics.measured(
                "gradient_epochs", name, "squared norm of a minibatch gradient", at=_near
            ),
        ],
        draw=drawings.distributions(name, *kinds),
        choices=[
            "The method that trained the network is not stated: AE-SAM, which relies on the "
            "assumption.",
            "400 random minibatches of at most 2,048 training images (704 at scale laptop), at the "
            "kept checkpoints nearest to 30%, 60%, 90% of the epochs (20%, 60% and 80% at scale "
            "laptop); the figure shows the first seed.",
            "The correlation of the Q-Q plot is 1 for an exactly normal sample; samples of 400 "
            "normal numbers have at least 0.993 in 95% of the cases.",
        ],
        limits=_LIMITS,
        measures=_gradients(_SAMPLES),
    )


def _figure_3(scale: str) -> list[Row]:
    return [] if scale == LAPTOP else _rows([("CIFAR-100", "ResNet-18")], "ae_sam")(scale)


_AE_SAM_ON_BOTH = _rows(_BOTH, "ae_sam")


def _figure_9(scale: str) -> list[Row]:
    return [] if scale == LAPTOP else _AE_SAM_ON_BOTH(scale)


def _figure_15(scale: str) -> list[Row]:
    both = settings.of_scale(scale, [("CIFAR-10", "ResNet-18"), ("CIFAR-100", "ResNet-18")])
    return [setting.row(name) for setting in both for name in ("ss_sam", "ae_sam")]


def _over_epochs(name: str) -> drawings.Draw:
    return line_drawings.over(name, x="epoch", x_label="epoch", log_y=True)


_LOSS = [
    metrics.last("train_loss", decimals=3),
    metrics.last("test_accuracy"),
    metrics.curve("train_loss"),
]
_LOSS_CURVES = line_drawings.over("train_loss_curve", x="epoch", x_label="epoch", bands=True)
_FIGURE_1 = Item(
    title="Variance of the gradient during training",
    rows=_rows(_CIFAR_100, "none", "sam"),
    seeds=_SEEDS,
    metrics=_curves("variance", "expected_squared_norm", "squared_norm"),
    draw=_over_epochs("variance"),
    against=lambda params: {"method": "none"} if params["method"] == "sam" else None,
    choices=[*_CHOICES, settings.ERM],
    limits=_LIMITS,
    measures=_gradients(),
)

ITEMS = {
    "figure1": _FIGURE_1,
    "figure2": _FIGURE_1._replace(
        title="Mean squared norm of minibatch gradients during training",
        metrics=_curves("expected_squared_norm"),
        draw=_over_epochs("expected_squared_norm"),
    ),
    "figure3": _normality(
        "Distribution of squared gradient norms, and Q-Q plot against the normal distribution",
        _figure_3,
        figures.histogram,
        figures.normal_quantiles,
    )._replace(limits=shown_in("aesam.figure8")),
    "figure7": Item(
        title="Squared norm of the full gradient during training with AE-SAM",
        rows=_rows(settings.PAIRS, "ae_sam"),
        seeds=_SEEDS,
        metrics=_curves("squared_norm"),
        draw=_over_epochs("squared_norm"),
        choices=[
            "The gradient of the mean loss over 2,048 training images (all 704 at scale laptop), "
            "without augmentation, BatchNorm with the statistics of minibatches."
        ],
        limits=_LIMITS,
        measures=_gradients(),
    ),
    "figure8": _normality(
        "Distribution of squared gradient norms on several networks",
        _AE_SAM_ON_BOTH,
        figures.histogram,
    ),
    "figure9": _normality(
        "Q-Q plots of squared gradient norms on several networks",
        _figure_9,
        figures.normal_quantiles,
    )._replace(limits=shown_in("aesam.figure8")),
    "figure14": Item(
        title="Training loss of AE-SAM",
        rows=_rows(settings.PAIRS, "ae_sam"),
        seeds=_SEEDS,
        metrics=_LOSS,
        draw=_LOSS_CURVES,
        choices=["The networks are not stated: those of Table 1."],
        limits=_LIMITS,
    ),
    "figure15": Item(
        title="Training loss of AE-SAM and SS-SAM",
        rows=_figure_15,
        seeds=settings.FIVE_SEEDS,
        metrics=_LOSS,
        draw=_LOSS_CURVES,
        against=lambda params: {"method": "ss_sam"} if params["method"] == "ae_sam" else None,
        choices=["Dataset and network are not stated: ResNet-18 on CIFAR-10 and CIFAR-100."],
        limits=settings.LIMITS,
    ),
}
