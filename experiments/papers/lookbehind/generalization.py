"""Tables 1, 3, 5 and 8, and Figure 4: accuracy of Lookbehind and eleven other methods."""

from experiments.papers.lookbehind import settings
from experiments.papers.setting import IMAGENET, LAPTOP_LIMITS, shown_in
from experiments.results import drawings, line_drawings, metrics
from experiments.results.item import LAPTOP, Item, Options
from experiments.results.row import Params, Row

# In the order of the rows of Table 1, for each of PAIRS.
_TABLE_1 = (
    (
        (95.84, 0.13), (95.59, 0.21), (95.80, 0.07), (95.72, 0.15), (95.74, 0.25), (95.80, 0.11),
        (96.27, 0.07), (96.32, 0.02), (95.91, 0.14), (95.91, 0.24), (96.01, 0.15), (96.54, 0.21),
    ),
    (
        (93.58, 0.11), (94.01, 0.02), (93.97, 0.20), (94.39, 0.09), (94.55, 0.22), (93.97, 0.17),
        (94.81, 0.22), (94.41, 0.09), (95.06, 0.15), (94.92, 0.09), (94.28, 0.04), (95.23, 0.01),
    ),
    (
        (74.35, 1.23), (75.96, 0.12), (76.57, 0.59), (77.03, 0.65), (76.97, 0.57), (76.16, 0.98),
        (78.62, 0.48), (78.62, 0.67), (77.81, 0.52), (78.39, 0.52), (77.55, 1.10), (78.86, 0.29),
    ),
    (
        (78.80, 0.08), (78.53, 0.18), (80.50, 0.06), (80.55, 0.06), (80.58, 0.21), (80.09, 0.10),
        (80.99, 0.02), (81.67, 0.28), (81.67, 0.06), (81.35, 0.36), (80.97, 0.17), (82.16, 0.09),
    ),
    (
        (69.91, 0.04), (69.63, 0.12), (70.01, 0.06), (69.92, 0.07), (70.01, 0.07), (69.99, 0.07),
        (70.16, 0.08), (70.15, 0.06), (70.06, 0.01), (70.11, 0.03), (70.00, 0.11), (70.23, 0.22),
    ),
)  # fmt: skip
# Lookbehind-SAM and -ASAM with adaptive alpha; static alpha as in Table 1.
_TABLE_3 = (
    ((96.33, 0.04), (96.57, 0.03)),
    ((94.88, 0.12), (95.08, 0.15)),
    ((78.33, 0.36), (78.89, 0.45)),
    ((80.86, 0.13), (81.86, 0.22)),
    ((70.07, 0.12), (70.16, 0.08)),
)
_TABLE_5 = (  # SAM and ASAM
    ((164.66, 9.87), (164.00, 12.83)),
    ((141.33, 15.45), (158.66, 29.45)),
    ((167.66, 21.06), (178.66, 3.77)),
    ((172.00, 9.00), (179.50, 4.50)),
    ((83.66, 2.05), (86.00, 2.16)),
)
_TABLE_8 = ((81.56, 0.13), (83.42, 0.04), (83.72, 0.10), (83.68, 0.12), (84.00, 0.18))


def methods(k: int, alpha: float = 0.5) -> list[tuple[str, Params]]:
    """The rows of Table 1: methods with their arguments."""
    rows: list[tuple[str, Params]] = [("none", {}), ("lookahead", {"k": k, "alpha": alpha})]
    for family in settings.FAMILIES:
        (base, multistep, *others) = settings.variants(family, k, alpha).items()
        last, mean = ((multistep[0], {"k": k, "average": average}) for average in (False, True))
        rows += [base, last, mean, *others]
    return rows


def _table_1(scale: str) -> list[Row]:
    return [
        setting.row(method, arguments, published=None if scale == LAPTOP else value)
        for setting, values in zip(settings.of_scale(scale), _TABLE_1, strict=False)
        for (method, arguments), value in zip(
            methods(settings.default_k(setting)), values, strict=True
        )
    ]


def _against(params: Params) -> Params | None:
    if params["method"] in (*settings.FAMILIES, "lookahead"):
        return {"method": "none"}
    return settings.base_method(params)


def _table_3(scale: str) -> list[Row]:
    if scale == LAPTOP:
        return []
    return [
        setting.row(
            f"lookbehind_{family}",
            {"k": settings.default_k(setting), "alpha": alpha},
            published=adaptive[place] if alpha == "adaptive" else static[6 + 5 * place],
        )
        for setting, static, adaptive in zip(
            settings.of_scale(scale), _TABLE_1, _TABLE_3, strict=True
        )
        for place, family in enumerate(settings.FAMILIES)
        for alpha in (0.5, "adaptive")
    ]


def _table_5(scale: str) -> list[Row]:
    return [
        setting.row(family, published=None if scale == LAPTOP else value)
        for setting, values in zip(settings.of_scale(scale), _TABLE_5, strict=False)
        for family, value in zip(settings.FAMILIES, values, strict=True)
    ]


def _table_8(scale: str) -> list[Row]:
    (setting,) = settings.of_scale(scale, [settings.PAIRS[3]])
    setting = setting.with_changes(label_smoothing=0.1)
    if scale != LAPTOP:
        setting = setting.with_changes(schedule="cosine")
    adaptive = {"k": 2, "alpha": "adaptive"}
    rows: list[tuple[str, Params]] = [("none", {})]
    for family in settings.FAMILIES:
        rows += [(family, {}), (f"lookbehind_{family}", adaptive)]
    return [
        setting.row(method, arguments, published=None if scale == LAPTOP else value)
        for (method, arguments), value in zip(rows, _TABLE_8, strict=True)
    ]


def _figure_4(scale: str) -> list[Row]:
    return [
        row._replace(published=None)
        for row in _table_1(scale)
        if row.params["method"] != "lookahead" and not row.params.get("average")
    ]


_SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def _noise(scale: str) -> Options:
    del scale
    return {"weight_noise": {"sigmas": _SIGMAS, "draws": 10}}


ITEMS = {
    "table1": Item(
        title="Generalization: test accuracy of Lookbehind and eleven other methods",
        rows=_table_1,
        seeds=settings.SEEDS,
        metrics=[
            metrics.last("test_accuracy"),
            metrics.best(),
            metrics.last("train_accuracy"),
            metrics.last("train_loss", decimals=3),
        ],
        draw=drawings.dots("test_accuracy"),
        choices=[
            settings.NO_K_OR_ALPHA,
            settings.LAST_EPOCH,
            "Optimizer settings are not in the text: those of the authors' code (rate 0.1, "
            "momentum 0.9, weight decay 5e-4, batches of 128); ImageNet: rate 0.1, cosine, batches "
            "of 256.",
            "rho is the default: 0.05 (SAM) and 0.5 (ASAM), on CIFAR-100 0.1 and 1.0.",
            "At scale laptop the learning rate follows a cosine, so that wrong labels are "
            "memorized.",
            settings.ASAM_SETTINGS,
            "The last partial batch of an epoch is dropped: 390 steps an epoch, the authors' code "
            "391.",
            IMAGENET,
        ],
        limits=settings.LIMITS,
        against=_against,
    ),
    "table3": Item(
        title="Static and adaptive alpha",
        rows=_table_3,
        seeds=settings.SEEDS,
        metrics=[
            metrics.last("test_accuracy"),
            metrics.best(),
            metrics.last("train_loss", decimals=3),
        ],
        draw=drawings.dots("test_accuracy"),
        choices=[
            settings.NO_K_OR_ALPHA,
            settings.LAST_EPOCH,
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
            IMAGENET,
        ],
        limits=shown_in("lookbehind.figure9", ": steps of rho, k = 5"),
        against=lambda params: (
            {"method": params["method"], "alpha": 0.5} if params["alpha"] == "adaptive" else None
        ),
    ),
    "table5": Item(
        title="Epoch of the best test accuracy of SAM and ASAM",
        rows=_table_5,
        seeds=settings.SEEDS,
        metrics=[metrics.best_epoch(), metrics.best(), metrics.last("test_accuracy")],
        draw=drawings.dots("best_epoch"),
        choices=[
            "The paper's deviations divide by n; ours by n - 1.",
            "Of several epochs with the best accuracy the first one counts.",
            settings.ASAM_SETTINGS,
            IMAGENET,
        ],
        limits={
            LAPTOP: LAPTOP_LIMITS + " With wrong labels the best epoch is early because later "
            "epochs memorize them, which is another reason than the paper's."
        },
    ),
    "table8": Item(
        title="Cosine schedule and label smoothing, k = 2, adaptive alpha, untuned",
        rows=_table_8,
        seeds=settings.FIVE_SEEDS,
        metrics=[
            metrics.last("test_accuracy"),
            metrics.best(),
            metrics.last("train_loss", decimals=3),
        ],
        draw=drawings.dots("test_accuracy"),
        choices=[
            "The caption says WRN-28-10, the text WRN-28-2: WRN-28-10.",
            "The value of label smoothing is not stated: 0.1, as in the ASAM paper's code.",
            "The published SGD, SAM and ASAM rows are those of the ASAM paper; the Lookbehind "
            "authors' own runs have 83.36 ± 0.18 (SAM) and 83.60 ± 0.15 (ASAM).",
            "The cosine schedule advances with every step, in the ASAM paper's code with every "
            "epoch.",
            settings.LAST_EPOCH,
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
        ],
        limits=settings.LIMITS,
        against=_against,
    ),
    "figure4": Item(
        title="Test accuracy under noise on the weights",
        rows=_figure_4,
        seeds=settings.SEEDS,
        metrics=[
            metrics.measured(
                "weight_noise",
                "noisy_accuracy",
                "test accuracy at sigma = 0.3, %",
                at=metrics.place(_SIGMAS.index(0.3), "sigma"),
                scale=100,
                decimals=2,
                higher_is_better=True,
            ),
            metrics.measured(
                "weight_noise",
                "noisy_accuracy",
                "test accuracy, %",
                called="accuracy_over_sigma",
                scale=100,
            ),
        ],
        draw=line_drawings.over("accuracy_over_sigma", x="sigma", x_label="noise sigma"),
        choices=[
            "The noise levels are not stated: sigma = 0 to 0.5.",
            "BatchNorm's statistics are estimated again after the noise, on at most 2,048 "
            "training images. Ten draws for each trained model, also on ImageNet, where the paper "
            "has three, on at most 10,000 of its validation images.",
            "Deviations are over training seeds, those of the paper over draws of the noise. "
            "Lookahead-SGD and the rows with averaged gradients are left out.",
            settings.NO_K_OR_ALPHA,
            settings.ASAM_SETTINGS,
        ],
        limits=settings.LIMITS,
        measures=_noise,
        against=_against,
    ),
}
