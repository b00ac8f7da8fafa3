"""Figures 1 and 3: m-sharpness of SAM, ASAM and their variants, trained with several radii."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.papers.lookbehind import settings
from experiments.papers.setting import LAPTOP_LIMITS
from experiments.results import line_drawings, metrics
from experiments.results.item import LAPTOP, Item, Options
from experiments.results.metrics import Metric
from experiments.results.row import Params, Row

_MULTIPLES = {"laptop": (0.5, 1, 2), "paper": (1, 2, 4)}  # of the default training radius
# Radii of the balls; the laptop's networks are small, and their radii too.
_RADII: Mapping[str, Mapping[str, Any]] = {
    "laptop": {"radii": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0), "asam_radii": (0.5, 1.0, 2.0, 4.0, 8.0)},
    "paper": {
        "radii": (0.05, *np.arange(0.5, 5.01, 0.5).tolist()),
        "asam_radii": tuple(np.arange(0.5, 5.01, 0.5).tolist()),
        "examples": None,  # equations 5 and 6: the whole training set
    },
}


def _measures(scale: str) -> Options:
    return {"m_sharpness": _RADII[scale]}


def _rows(scale: str, family: str, multiples: Sequence[float]) -> list[Row]:
    """A row for each variant and training radius, in multiples of the default one."""
    (setting,) = settings.of_scale(scale, [settings.RESNET_34])
    return [
        setting.row(method, {**arguments, "rho": round(multiple * setting.radius(family), 6)})
        for multiple in multiples
        for method, arguments in settings.variants(family, settings.default_k(setting)).items()
    ]


def _figure_1(scale: str) -> list[Row]:
    return _rows(scale, "sam", _MULTIPLES[scale])


def _figure_3(scale: str) -> list[Row]:
    """The same for SAM and ASAM; the multiple stands for the radius, which the two do not share."""
    return [
        row._replace(
            params={"family": settings.family_of(row.params), "multiple": multiple, **row.params}
        )
        for family in settings.FAMILIES
        for multiple in _MULTIPLES[scale]
        for row in _rows(scale, family, [multiple])
    ]


def _base_of_radius(params: Params) -> Params | None:
    base = settings.base_method(params)
    return base and {**base, "rho": params["rho"]}


def _ball_of_family(params: Params, name: str) -> bool:
    """ASAM's rows are measured in ASAM's ball (equation 6), SAM's in SAM's."""
    return name == f"{params['family'].lower()}_sharpness"


def _at(index: int) -> Metric:
    """m-sharpness at one of the radii of SAM's ball."""
    at = metrics.place(index, "radius")
    return metrics.measured(
        "m_sharpness", "sam_sharpness", "m-sharpness", called="m_sharpness", at=at
    )


_K_AND_ALPHA = "k and alpha are not stated: k = 5, alpha = 0.5."

ITEMS = {
    "figure1": Item(
        title="Training loss against m-sharpness; larger points: larger training rho",
        rows=_figure_1,
        seeds=settings.SEEDS,
        metrics=[
            _at(0),
            metrics.measured("m_sharpness", "loss", "training loss", at=metrics.only),
            metrics.last("test_accuracy"),
        ],
        draw=line_drawings.scatter("m_sharpness", "loss", "rho"),
        against=_base_of_radius,
        choices=[
            _K_AND_ALPHA,
            "m-sharpness at radius 0.05 with m = the batch size; the maximum is that of one ascent "
            "step, BatchNorm with its running statistics, training images without augmentation.",
        ],
        limits={
            LAPTOP: LAPTOP_LIMITS
            + settings.LAPTOP_RADII
            + " Training loss is on wrong labels too: a low one means that they "
            "were memorized, so that lower is not better here."
        },
        measures=_measures,
    ),
    "figure3": Item(
        title="m-sharpness over the radius",
        rows=_figure_3,
        seeds=settings.SEEDS,
        metrics=[
            _at(2),
            metrics.measured("m_sharpness", "sam_sharpness", "m-sharpness in SAM's ball"),
            metrics.measured("m_sharpness", "asam_sharpness", "m-sharpness in ASAM's ball"),
        ],
        draw=line_drawings.over(
            "sam_sharpness",
            "asam_sharpness",
            x="radius",
            x_label="radius of the ball",
            log_x=True,
            log_y=True,
            chosen=_ball_of_family,
            legend=lambda params: (
                f"{settings.variant_title(params)}, {params['multiple']:g} x default rho"
            ),
            hidden=["rho"],
        ),
        panels=("family", "setting"),
        unnamed=("multiple",),
        against=_base_of_radius,
        choices=[
            _K_AND_ALPHA,
            "m is not stated: the batch size. The maximum is that of one ascent step.",
            "The table has the third radius of SAM's ball (0.2 at scale laptop, else 1), for the "
            "rows of ASAM too, where the paper takes ASAM's ball (equation 6): that one is in the "
            "figure and in the JSON file.",
            settings.ASAM_SETTINGS,
        ],
        limits={LAPTOP: LAPTOP_LIMITS + settings.LAPTOP_RADII},
        measures=_measures,
    ),
}
