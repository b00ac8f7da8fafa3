"""Figures 5, 6, 12 and 13: %SAM and accuracy over lambda_1 and lambda_2."""

from experiments.papers.aesam import settings
from experiments.papers.setting import shown_in
from experiments.results import drawings, metrics
from experiments.results.item import LAPTOP, Item
from experiments.results.metrics import Metric
from experiments.results.row import Params, Row

_GRID = (-2, -1, 0, 1, 2)
_PERCENT, _ACCURACY = metrics.percent_sam(), metrics.last("test_accuracy")


def _item(title: str, method: str, metric: Metric, noise: float | None) -> Item:
    """A heat map of all pairs ``lambda_1 <= lambda_2``.

    Args:
      title: its title.
      method: ``ae_sam`` or ``ae_looksam``.
      metric: the number in the cells.
      noise: fraction of wrong labels; None for CIFAR without (digits at scale laptop).
    """

    def rows(scale: str) -> list[Row]:
        if noise is None:
            (setting,) = settings.of_scale(scale, [("CIFAR-10", "ResNet-18")])
        else:
            setting = settings.noisy(scale, noise)
        arguments: Params = {}
        if method == "ae_looksam":
            arguments = {"alpha": settings.looksam_alpha(scale, noise or 0.0)}
        return [
            setting.row(method, {**arguments, "lambda_1": float(low), "lambda_2": float(high)})
            for low in _GRID
            for high in _GRID
            if low <= high
        ]

    others = [m for m in (_PERCENT, _ACCURACY, metrics.best()) if m.name != metric.name]
    return Item(
        title=title,
        rows=rows,
        seeds={"laptop": 2, "paper": 5},
        metrics=[metric, *others],
        draw=drawings.heat_map(metric.name, "lambda_2", "lambda_1"),
        choices=[
            "Dataset and network are not stated: CIFAR-10 and ResNet-18.",
            "rho and LookSAM's alpha are not stated: 0.05 and 0.5 (at scale laptop both 0.2); 0.5 "
            "is not in the paper's grid 0.1, 0.3, 0.6, 0.9.",
        ],
        limits=settings.LIMITS if noise is None else settings.NOISE_LIMITS,
    )


def _repeats(item: Item, name: str) -> Item:
    """An item whose runs and numbers at scale laptop are another item's."""
    return item._replace(
        rows=lambda scale: [] if scale == LAPTOP else item.rows(scale), limits=shown_in(name)
    )


ITEMS = {
    "figure5": _item("%SAM of AE-SAM over lambda_1 and lambda_2", "ae_sam", _PERCENT, None),
    "figure6": _repeats(
        _item("Test accuracy of AE-SAM over lambda_1 and lambda_2", "ae_sam", _ACCURACY, None),
        "aesam.figure5",
    ),
    "figure12": _item(
        "%SAM of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels",
        "ae_looksam",
        _PERCENT,
        0.8,
    ),
    "figure13": _repeats(
        _item(
            "Test accuracy of AE-LookSAM over lambda_1 and lambda_2, 80% wrong labels",
            "ae_looksam",
            _ACCURACY,
            0.8,
        ),
        "aesam.figure12",
    ),
}
