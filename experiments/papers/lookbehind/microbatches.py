"""Table 9: Lookbehind on m-SAM and m-ASAM: each microbatch is perturbed independently."""

from experiments.papers.lookbehind import settings
from experiments.papers.setting import LAPTOP_LIMITS
from experiments.results import drawings, metrics
from experiments.results.item import LAPTOP, PAPER, Item
from experiments.results.row import Params, Row

_PARTS = (4, 2)  # microbatches of a batch: m is a quarter or half of it
_ALPHAS = (*settings.ALPHA, "adaptive")
_PUBLISHED = {  # parts -> m-SAM, then k = 2 and k = 5 over alpha; the same for m-ASAM
    4: (
        (96.19, 0.09), (96.45, 0.04), (96.61, 0.05), (96.68, 0.07), (96.66, 0.03), (96.65, 0.07),
        (96.53, 0.12), (96.35, 0.01), (96.35, 0.02), (96.45, 0.04), (96.81, 0.18), (97.00, 0.05),
        (97.05, 0.11), (96.97, 0.08), (97.03, 0.02), (97.01, 0.03), (96.85, 0.01), (96.68, 0.03),
    ),
    2: (
        (95.99, 0.04), (95.91, 0.08), (96.26, 0.15), (96.44, 0.13), (96.49, 0.05), (96.12, 0.10),
        (96.52, 0.04), (96.31, 0.09), (96.41, 0.05), (96.28, 0.06), (96.10, 0.15), (96.64, 0.11),
        (96.54, 0.23), (96.69, 0.19), (96.57, 0.04), (96.68, 0.07), (96.76, 0.10), (96.77, 0.09),
    ),
}  # fmt: skip


def _methods(scale: str) -> list[tuple[str, Params]]:
    ks, alphas = ((2, 5), _ALPHAS) if scale == PAPER else ((2,), (0.2, 0.5, "adaptive"))
    rows: list[tuple[str, Params]] = []
    for family in settings.FAMILIES:
        rows.append((family, {}))
        rows += [(f"lookbehind_{family}", {"k": k, "alpha": alpha}) for k in ks for alpha in alphas]
    return rows


def _rows(scale: str) -> list[Row]:
    (setting,) = settings.of_scale(scale, [settings.RESNET_34])
    rows = []
    for parts in _PARTS:
        m = {"m": setting.config.batch_size // parts}
        for place, (method, arguments) in enumerate(_methods(scale)):
            published = _PUBLISHED[parts][place] if scale == PAPER else None
            rows.append(
                setting.row(method, arguments, published=published, params=m, microbatches=parts)
            )
    return rows


_TITLES = {
    "sam": "m-SAM",
    "asam": "m-ASAM",
    "lookbehind_sam": "Lookbehind-m-SAM",
    "lookbehind_asam": "Lookbehind-m-ASAM",
}

ITEMS = {
    "table9": Item(
        title="Lookbehind on m-SAM and m-ASAM",
        rows=_rows,
        seeds={"laptop": 2, "paper": 3},
        metrics=[
            metrics.last("test_accuracy"),
            metrics.best(),
            metrics.last("train_loss", decimals=3),
        ],
        draw=drawings.dots("test_accuracy"),
        panels=("m",),
        panel_title=lambda params: f"m = {params['m']}",
        name=lambda params: _TITLES[params["method"]],
        against=settings.base_method,
        choices=[
            "rho and the batch size are not stated: the default, and 128 as in the authors' code.",
            settings.LAST_EPOCH,
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
        ],
        limits={LAPTOP: LAPTOP_LIMITS + " Microbatches of 8 and 16 in batches of 32; k = 2 only."},
    )
}
