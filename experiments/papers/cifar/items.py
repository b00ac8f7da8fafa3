"""The comparison on CIFAR-10 with right and wrong labels, its controls, and when SAM is needed."""

from functools import partial
from typing import Any

from experiments.configs.base import with_changes
from experiments.methods import spec
from experiments.methods.table import method
from experiments.papers.cifar.settings import EXAMPLES, NOISE, base_config, chosen
from experiments.papers.setting import against_row
from experiments.results import drawings, metrics
from experiments.results.item import SCALES, Item
from experiments.results.row import Row

MARGIN = 1.0  # points of accuracy
_TRAINED = 20.0  # twice chance; SGD is above it with either kind of labels
_TITLES = {
    "noisy": f"{EXAMPLES:,} images of CIFAR-10, {NOISE['noisy']:.0%} wrong labels",
    "clean": f"{EXAMPLES:,} images of CIFAR-10, right labels",
}


def _row(labels: str, name: str, **changes: Any) -> Row:
    """The row with these keys of the config."""
    config = with_changes(base_config(labels), changes)
    bound, given = method(config.method), spec.parse(config.method).given
    params = {"setting": _TITLES[labels], "row": name, "method": bound.name}
    params |= {key: bound.arguments[key] for key in given}
    params |= {key: config[key] for key in ("learning_rate", "weight_decay") if key in changes}
    return Row(params, config, None, _TRAINED, EXAMPLES // config.batch_size)


def _comparison(scale: str) -> list[Row]:
    del scale  # one setting, small enough for every machine
    return [
        _row(labels, name, **choice.changes)
        for labels in NOISE
        for name, choice in chosen(labels).items()
    ]


def _controls(scale: str) -> list[Row]:
    """Lookbehind at SAM's settings, carried over in three ways, and its two halves alone."""
    del scale
    labels = "noisy"  # where the differences are large
    if not (choices := chosen(labels)):
        return []
    rate, rho = (choices["SAM"].setting[key] for key in ("learning_rate", "rho"))
    rows = [
        _row(labels, name, method=f"sam:rho={radius:g}", learning_rate=rate)
        for name, radius in {
            "SAM": rho,
            "SAM, twice the rho": 2 * rho,
            "SAM, half the rho": rho / 2,
        }.items()
    ]
    alpha = 0.5
    for k in (2, 5):
        at = {
            "SAM's rate and rho": (rate, rho),
            "SAM's reach: rho / k": (rate, rho / k),
            # Equal edges of stability and equal bounce: docs/laws.md.
            "SAM's edge: rate / (alpha k), 2 rho / (k + 1)": (
                rate / (alpha * k),
                2 * rho / (k + 1),
            ),
        }
        for how, (eta, radius) in at.items():
            text = f"lookbehind_sam:k={k},rho={radius},alpha={alpha}"
            name = f"Lookbehind-SAM, k = {k}, {how}"
            rows.append(_row(labels, name, method=text, learning_rate=eta))
    for name, text in {
        "Multistep-SAM, k = 2, SAM's reach (no interpolation)": f"multistep_sam:k=2,rho={rho / 2}",
        "Lookahead-SAM, k = 2 (one ascent step)": f"lookahead_sam:k=2,alpha=0.5,rho={rho}",
    }.items():
        rows.append(_row(labels, name, method=text, learning_rate=rate))
    return rows


def _when(scale: str) -> list[Row]:
    """SAM in a part of training, with the setting that is best for it throughout."""
    del scale
    rows = []
    for labels in NOISE:
        if not (choices := chosen(labels)):
            continue
        sam = choices["SAM"].setting
        rate, text = sam["learning_rate"], f"sam:rho={sam['rho']:g}"
        epochs = base_config(labels).epochs
        rows.append(_row(labels, "throughout", method=text, learning_rate=rate))
        rows.append(_row(labels, "never", method="none", learning_rate=rate))
        for part in (1 / 5, 1 / 2, 4 / 5):
            length = round(part * epochs)
            for name, first, switch in (
                (f"the first {part:.0%}", text, ((length, "none"),)),
                (f"the last {part:.0%}", "none", ((epochs - length, text),)),
            ):
                row = _row(labels, name, method=text, learning_rate=rate)
                config = with_changes(row.config, {"method": first, "switch": switch})
                rows.append(row._replace(config=config))
    return rows


_METRICS = [
    metrics.last("test_accuracy"),
    metrics.best(),
    metrics.last("train_accuracy"),
    metrics.percent_sam(),
    metrics.step_milliseconds(),
]
_CHOICES = [
    "The images of CIFAR-10 are a recompressed copy (AVIF, about 35 dB from the originals), "
    "averaged to 16 x 16 pixels; no augmentation. The network has three strided convolutions with "
    "BatchNorm and 94,762 weights (`cnn_cifar`); 15 epochs, batches of 64, cosine schedule, "
    "momentum 0.9.",
    "Every seed draws its own 2,500 images, wrong labels and held-out part, initial weights and "
    "order; the 10,000 test images are the same.",
]
_SEARCHED = (
    "Each method has the best of eight settings (two rates and four radii; SGD: four rates and two "
    "weight decays) by the accuracy on a fifth of the training images, held out with right labels, "
    "with seeds other than those of the table (experiments/papers/cifar/settings.py; choices and "
    "scores in chosen_*.json beside it)."
)
_TIME = (
    "The time of a step is that of the fastest epoch, on a machine that other programs used. Of "
    "methods with one gradient it includes a forward pass that logs the loss."
)
_LIMITS = (
    "One dataset at a small part of its usual size, one small network, few epochs: an instrument "
    "on which every method trains, not a benchmark; its accuracies say nothing about networks "
    "trained on all of CIFAR-10. Many chosen settings lie at an edge of their grid (`at_edge` in "
    "chosen_*.json): with wrong labels SAM, Lookahead-SAM, Multistep-SAM, Lookbehind-SAM with "
    "k = 2, LookSAM and AE-LookSAM chose the smallest radius and SGD the largest weight decay, so "
    "that each of them may be better than its row."
)
_NOT_CHOSEN = (
    "The settings have not been chosen yet: python -m experiments.papers.search "
    "cifar.noisy --data_dir=DIR"
)


_LIMIT = _LIMITS if any(map(chosen, NOISE)) else _NOT_CHOSEN
_item = partial(
    Item,
    seeds=dict.fromkeys(SCALES, 5),
    metrics=_METRICS[:3],
    draw=drawings.dots("test_accuracy"),
    name=lambda params: params["row"],
    unnamed=("learning_rate", "weight_decay", "rho", "k", "alpha", "fraction", "probability"),
    against=against_row("SAM"),
    margin=MARGIN,
    draws_data=True,
    limits=dict.fromkeys(SCALES, _LIMIT),
)

ITEMS = {
    "methods": _item(
        title="CIFAR-10 with right and wrong labels: every method at its best setting",
        rows=_comparison,
        seeds=dict.fromkeys(SCALES, 10),
        metrics=_METRICS,
        draw=drawings.by_cost("test_accuracy"),
        choices=[*_CHOICES, _SEARCHED, _TIME],
    ),
    "controls": _item(
        title="CIFAR-10: Lookbehind against SAM at equal settings, equal reach and equal edge",
        rows=_controls,
        choices=[
            *_CHOICES,
            "Rate and rho of SAM are those chosen for it in `cifar.methods`; those of the other "
            "rows follow from them as their names say, with alpha = 0.5 and momentum on the fast "
            "weights.",
        ],
    ),
    "when": _item(
        title="CIFAR-10: SAM early, late or throughout",
        rows=_when,
        against=against_row("throughout"),
        choices=[
            *_CHOICES,
            "Rate and rho are those chosen for SAM throughout; before or after the switch it is "
            "SGD with the same rate. The schedule of the rate runs through.",
        ],
    ),
}
