"""Table 10, Figures 8 and 10: the course of training."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.papers.lookbehind import settings
from experiments.papers.setting import IMAGENET, LAPTOP_LIMITS, Setting, noisy_digits
from experiments.results import drawings, line_drawings, metrics
from experiments.results.item import LAPTOP, Item
from experiments.results.metrics import FinishedRun, Metric
from experiments.results.row import Params, Row, method_string, method_title
from experiments.results.stats import trained
from experiments.results.table import Table

_ALPHAS = (0.5, "adaptive")
# For each of PAIRS: static k = 2, 5, 10, adaptive k = 2, 5, 10; SAM, then ASAM.
_TABLE_10 = (
    (50, 58, 50, 50, 51, 52, 50, 50, 51, 50, 50, 50),
    (51, 53, 56, 60, 63, None, 50, 50, 56, 51, 70, None),
    (62, 50, 50, 36, 50, 50, 50, 50, 51, 50, 50, 52),
    (50, 95, 24, 51, None, None, 51, 50, 52, 52, 50, None),
    (82, None, None, 96, None, None, 87, None, None, 93, None, None),
)


def _with_drops(scale: str, setting: Setting) -> Setting:
    """At scale laptop too, the rate drops at 25%, 50% and 75%: these figures are about that."""
    return setting.with_changes(schedule="step") if scale == LAPTOP else setting


def _table_10(scale: str) -> list[Row]:
    rows = []
    for setting, values in zip(settings.of_scale(scale), _TABLE_10, strict=False):
        setting = _with_drops(scale, setting)
        for place, family in enumerate(settings.FAMILIES):
            for k in settings.inner_steps(scale, setting):
                rows.append(setting.row(f"multistep_{family}", {"k": k}))
                for adaptive, alpha in enumerate(_ALPHAS):
                    value = values[6 * place + 3 * adaptive + settings.K["paper"].index(k)]
                    published = None if scale == LAPTOP or value is None else (value, None)
                    arguments = {"k": k, "alpha": alpha}
                    rows.append(setting.row(f"lookbehind_{family}", arguments, published=published))
    return rows


def _percent_of_multistep(table: Table) -> Iterator[Mapping[str, Any]]:
    """100 * gradients until Multistep's last accuracy is reached / Multistep's gradients.

    Both methods take k + 1 gradients a step, so that epochs stand for gradients. A run that never
    reaches it has 100, the least that it can be; next to a Multistep that did not train there is
    nothing to reach.
    """
    threshold = {noisy_digits().name: noisy_digits().trained_above}
    curves = table.where(metric="test_accuracy_curve")
    for (setting, *_), rows in curves.group("setting", "k", "seed").items():
        for family in settings.FAMILIES:
            multistep = [row["value"] for row in rows.where(method=f"multistep_{family}")]
            if not multistep or not trained(multistep[-1:], threshold.get(setting)):
                continue
            for mine in rows.where(method=f"lookbehind_{family}").group("alpha").values():
                reached = [row["value"] >= multistep[-1] for row in mine]
                sooner = 100 * (1 + float(np.argmax(reached))) / len(reached)
                found = {key: value for key, value in mine.rows[0].items() if key != "epoch"}
                percent = sooner if any(reached) else 100.0
                yield {**found, "metric": "percent_of_multistep", "value": percent}
                yield {**found, "metric": "reaches", "value": float(any(reached))}


_FRACTIONS = (0.25, 0.5, 0.75)  # of all epochs: where the learning rate drops


def _figure_8(scale: str) -> list[Row]:
    (setting,) = settings.of_scale(scale, [settings.RESNET_34])
    rows = []
    for family in settings.FAMILIES[:1] if scale == LAPTOP else settings.FAMILIES:
        for k in settings.K[scale]:
            rho = setting.radius(family)
            both = [
                (family, {"rho": rho}),
                (f"lookbehind_{family}", {"k": k, "rho": rho, "alpha": 0.5}),
            ]
            for first, second in (both, both[::-1]):
                rows += _switched(setting, k, first, second)
    return rows


def _switched(
    setting: Setting, k: int, first: tuple[str, Params], second: tuple[str, Params]
) -> list[Row]:
    """The rows of a curve: switched at the start, in between, and never."""
    epochs = setting.config.epochs
    rows = []
    for after in [0, *(round(fraction * epochs) for fraction in _FRACTIONS), epochs]:
        switch = ((after, method_string(*second)),) if 0 < after < epochs else ()
        method, arguments = second if after == 0 else first
        row = setting.row(method, arguments, switch=switch)
        params = {"first": first[0], "method": second[0], "k": k, "epochs before the switch": after}
        rows.append(row._replace(params={"setting": setting.name, **params}))
    return rows


def _order(params: Params) -> str:
    first = method_title({"method": params["first"]})
    return f"{first}, then {method_title(params)}"


def _figure_10(scale: str) -> list[Row]:
    return [
        _with_drops(scale, setting).row(f"lookbehind_{family}", {"k": k, "alpha": "adaptive"})
        for setting in settings.of_scale(scale, settings.PAIRS[:-1])
        for family in settings.FAMILIES
        for k in settings.K[scale]
    ]


def _alpha(name: str, label: str, of_epoch: slice) -> Metric:
    """Mean alpha over some epochs; the slice is in quarters of the epochs."""

    def of(run: FinishedRun) -> float:
        return float(np.mean([line["train_alpha"] for line in run.history[of_epoch]]))

    return Metric(name, label, of, 3, None)


def _around_the_first_drop(name: str, label: str, offset: int) -> Metric:
    def of(run: FinishedRun) -> float:
        return float(run.history[len(run.history) // 4 + offset]["train_alpha"])

    return Metric(name, label, of, 3, None)


ITEMS = {
    "table10": Item(
        title="Gradients until Lookbehind reaches Multistep's accuracy, % of Multistep's",
        rows=_table_10,
        seeds=settings.SEEDS,
        metrics=[
            metrics.derived(
                "percent_of_multistep",
                "% of Multistep's gradients",
                decimals=1,
                higher_is_better=False,
            ),
            metrics.derived("reaches", "runs that reach it, fraction"),
            metrics.last("test_accuracy"),
            metrics.curve("test_accuracy"),
        ],
        draw=drawings.dots("percent_of_multistep"),
        derive=_percent_of_multistep,
        choices=[
            "How the level is compared is not stated: Multistep's accuracy after the last epoch, "
            "with the same seed; the first epoch of Lookbehind that reaches it.",
            "Static alpha: 0.5 for each k; the paper takes the best one.",
            "A run that never reaches the level counts as 100%, the least that it can be, so that "
            "the mean is then too low. A dash: Multistep itself did not train.",
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
            IMAGENET,
        ],
        limits={
            LAPTOP: LAPTOP_LIMITS
            + settings.TWO_K
            + " With wrong labels accuracy falls again once they are memorized, so that the level "
            "is often passed in the first epochs: the numbers say more about that than about the "
            "drops of the learning rate."
        },
    ),
    "figure8": Item(
        title="Changing the method in the middle of training",
        rows=_figure_8,
        seeds=settings.SEEDS,
        metrics=[
            metrics.last("test_accuracy"),
            metrics.best(),
            metrics.last("train_loss", decimals=3),
        ],
        draw=line_drawings.lines("test_accuracy", "epochs before the switch"),
        panels=("first", "method", "setting"),
        panel_title=_order,
        name=lambda params: f"k = {params['k']}",
        choices=[
            "The epochs of the switch are not stated: a quarter, half, three quarters, and both "
            "ends.",
            "The best alpha for each k is not stated: 0.5.",
            "Weights, BatchNorm's statistics, momentum and the schedule continue.",
            settings.LAST_EPOCH,
            settings.ASAM_SETTINGS,
        ],
        limits={LAPTOP: LAPTOP_LIMITS + " SAM only." + settings.TWO_K},
    ),
    "figure10": Item(
        title="Adaptive alpha during training",
        rows=_figure_10,
        seeds=settings.SEEDS,
        metrics=[
            _alpha("mean_alpha", "alpha*, mean over training", slice(None)),
            _alpha("last_alpha", "last epoch", slice(-1, None)),
            _around_the_first_drop(
                "alpha_before_drop", "epoch before the first drop of the rate", -1
            ),
            _around_the_first_drop("alpha_after_drop", "epoch after it", 0),
            metrics.curve("train_alpha"),
        ],
        draw=line_drawings.over("train_alpha_curve", x="epoch", x_label="epoch", bands=True),
        against=lambda params: None if params["k"] == 2 else {"method": params["method"], "k": 2},
        choices=[
            "rho is the default. alpha* is that of the whole model, the mean over the steps of an "
            "epoch.",
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
        ],
        limits={
            LAPTOP: LAPTOP_LIMITS
            + settings.TWO_K
            + " The learning rate drops after 25%, 50% and 75% of the epochs."
        },
    ),
}
