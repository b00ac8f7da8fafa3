"""Figures 5, 6, 7, 9, 13 and 14: accuracy over k, rho and alpha."""

from collections.abc import Callable, Sequence

from experiments.papers.lookbehind import settings
from experiments.papers.setting import IMAGENET, LAPTOP_LIMITS, shown_in
from experiments.results import drawings, line_drawings, metrics
from experiments.results.item import LAPTOP, Item
from experiments.results.row import Params, Row

_ACCURACY = [metrics.last("test_accuracy"), metrics.best()]
_WITH_LOSS = [*_ACCURACY, metrics.last("train_loss", decimals=3)]
_MULTIPLES: dict[str, dict[str, tuple[float, ...]]] = {  # of the default radius
    "laptop": {"sam": (0.5, 1, 2), "asam": (0.5, 1, 2)},
    "paper": {"sam": (1, 2, 4, 10), "asam": (1, 2, 4)},
}


def _family(method: str) -> Params:
    return {"family": settings.family_of({"method": method})}


def _figure_5(scale: str) -> list[Row]:
    if scale == LAPTOP:
        return []
    rows = []
    for setting in settings.of_scale(scale, [settings.RESNET_34, settings.PAIRS[2]]):
        for family in settings.FAMILIES:
            rows.append(setting.row(family, params=_family(family)))
            rows += [
                setting.row(method, arguments, params=_family(method))
                for k in settings.K[scale]
                for method, arguments in settings.with_inner_steps(family, k)
            ]
    return rows


def _figure_6(scale: str) -> list[Row]:
    (setting,) = settings.of_scale(scale, [settings.RESNET_34])
    rows = []
    for family in settings.FAMILIES:
        for multiple in _MULTIPLES[scale][family]:
            rho = {"rho": round(multiple * setting.radius(family), 6)}
            rows.append(setting.row(family, rho, params=_family(family)))
            rows += [
                setting.row(method, {**arguments, **rho}, params=_family(method))
                for k in settings.K[scale]
                for method, arguments in settings.with_inner_steps(family, k)
            ]
    return rows


def _base_of_radius(params: Params) -> Params | None:
    base = settings.base_method(params)
    return base and {**base, "rho": params["rho"]}


def _figure_9(scale: str) -> list[Row]:
    (setting,) = settings.of_scale(scale, [settings.RESNET_34])
    steps: list[Params] = [
        {"alpha": 0.5, "rho_over_k": False},
        {"alpha": 1.0, "rho_over_k": True},
        {"alpha": "adaptive", "rho_over_k": False},
    ]
    return [
        setting.row(f"lookbehind_{family}", {"k": k, **each})
        for family in settings.FAMILIES
        for each in steps
        for k in settings.K[scale]
    ]


def _short_steps(params: Params) -> Params | None:
    if params["rho_over_k"]:
        return None
    return {"method": params["method"], "k": params["k"], "rho_over_k": True}


def _map(variant: str, pairs: Sequence[tuple[str, str]]) -> Callable[[str], list[Row]]:
    """The rows of heat maps: SAM and ASAM, and a variant of them for each alpha and k."""

    def rows(scale: str) -> list[Row]:
        found = []
        for setting in settings.of_scale(scale, pairs):
            for family in settings.FAMILIES:
                found.append(setting.row(family))
                found += [
                    setting.row(f"{variant}_{family}", {"k": k, "alpha": alpha})
                    for alpha in settings.ALPHA
                    for k in settings.inner_steps(scale, setting)
                ]
        return found

    return rows


def _heat_map(title: str, rows: Callable[[str], list[Row]], **changes: object) -> Item:
    item = Item(
        title=title,
        rows=rows,
        seeds=settings.SEEDS,
        metrics=_ACCURACY,
        draw=drawings.heat_map("test_accuracy", "k", "alpha"),
        against=settings.base_method,
        choices=[
            "The grids are not stated: alpha 0.2, 0.5, 0.8 (the authors' README), k as in Figure "
            "5.",
            settings.LAST_EPOCH,
            settings.ASAM_SETTINGS,
        ],
        limits=settings.TWO_K_LIMITS,
    )
    return item._replace(**changes)  # type: ignore[arg-type]


_MAP = _heat_map(
    "Lookbehind over alpha and k; white: SAM or ASAM", _map("lookbehind", [settings.RESNET_34])
)
_ALL_NETWORKS = [*_MAP.choices, "The networks are not listed: those of Table 1.", IMAGENET]
_LOOKBEHIND_MAPS, _LOOKAHEAD_MAPS = (_map(v, settings.PAIRS) for v in ("lookbehind", "lookahead"))

ITEMS = {
    "figure5": Item(
        title="Sensitivity to k",
        rows=_figure_5,
        seeds=settings.SEEDS,
        metrics=_ACCURACY,
        draw=line_drawings.lines("test_accuracy", "k", legend=settings.variant_title),
        panels=("family", "setting"),
        against=settings.base_method,
        choices=[
            "alpha is not stated: 0.5 for each k.",
            settings.LAST_EPOCH,
            settings.ASAM_SETTINGS,
        ],
        limits=shown_in("lookbehind.figure6", ": rho = 0.2 and 1"),
    ),
    "figure6": Item(
        title="Sensitivity to rho",
        rows=_figure_6,
        seeds=settings.SEEDS,
        metrics=_WITH_LOSS,
        draw=line_drawings.lines("test_accuracy", "rho", log_x=True, legend=settings.variant_title),
        panels=("family", "setting"),
        against=_base_of_radius,
        choices=[
            "The grid is not stated but for its ends: at scale paper SAM 0.05, 0.1, 0.2, 0.5 and "
            "ASAM 0.5, 1, 2.",
            "alpha is not stated: 0.5.",
            settings.LAST_EPOCH,
            settings.ASAM_SETTINGS,
        ],
        limits={LAPTOP: LAPTOP_LIMITS + settings.LAPTOP_RADII + settings.TWO_K},
    ),
    "figure7": _MAP,
    "figure9": Item(
        title="Steps of rho against steps of rho / k",
        rows=_figure_9,
        seeds=settings.SEEDS,
        metrics=_WITH_LOSS,
        draw=line_drawings.lines("test_accuracy", "k", legend=settings.variant_title),
        panels=("method", "setting"),
        against=_short_steps,
        choices=[
            '"Without linear interpolation" is read as alpha = 1 with k descent steps of the '
            "learning rate.",
            "Static alpha is not stated: 0.5.",
            settings.LAST_EPOCH,
            settings.ADAPTIVE_ALPHA,
            settings.ASAM_SETTINGS,
        ],
        limits=settings.TWO_K_LIMITS,
    ),
    "figure13": _heat_map(
        "Lookbehind over alpha and k on all networks; white: SAM or ASAM",
        lambda scale: [] if scale == LAPTOP else _LOOKBEHIND_MAPS(scale),
        choices=_ALL_NETWORKS,
        limits=shown_in("lookbehind.figure7"),
    ),
    "figure14": _heat_map(
        "Lookahead over alpha and k on all networks; white: SAM or ASAM",
        _LOOKAHEAD_MAPS,
        choices=_ALL_NETWORKS,
    ),
}
