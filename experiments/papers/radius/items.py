"""The tables of regret: a proposed rho against a searched one, on each task."""

from functools import partial
from typing import Any

from experiments.configs.base import with_changes
from experiments.methods import spec
from experiments.methods.table import method
from experiments.papers.radius import propose
from experiments.papers.radius.settings import (
    FACTORS,
    RADII,
    TASKS,
    Task,
    chosen_file,
    proposed_file,
)
from experiments.papers.setting import against_row
from experiments.results import drawings, metrics
from experiments.results.item import SCALES, Item
from experiments.results.row import Row
from experiments.results.search import read

SEARCHED = "SAM, best rho of a grid of eight"
_MANY = 10.0  # a cap for LE-SAM that is never reached


def _row(task: Task, name: str, text: str) -> Row:
    bound, given = method(text), spec.parse(text).given
    params: dict[str, Any] = {"setting": task.title, "row": name, "method": bound.name}
    params |= {key: bound.arguments[key] for key in given}
    config = with_changes(task.config(), {"method": text})
    return Row(params, config, minibatches=task.minibatches(config))


def _rows(name: str, scale: str) -> list[Row]:
    del scale  # one setting, small enough for every machine
    if not chosen_file(name, "few").exists():
        return []
    proposed = propose.read(proposed_file(name))
    (best,), (few,) = read(chosen_file(name)), read(chosen_file(name, "few"))
    (rise,) = {f"{seed['first_order'][3]:.3g}" for seed in proposed.seeds.values()}
    rows = {
        "no method": "none",
        "SAM, rho = 0.05": "sam:rho=0.05",
        "SAM, proposed rho": f"sam:rho={proposed.rho:g}",
        "SAM, best of the proposed rho, twice and four times": f"sam:rho={few.setting['rho']:g}",
        SEARCHED: f"sam:rho={best.setting['rho']:g}",
        "LE-SAM: the proposal's rise kept in every step": f"le_sam:budget={rise},rho_max={_MANY}",
    }
    return [_row(TASKS[name], title, text) for title, text in rows.items()]


_CHOICES = [
    "The proposal is that of `sharpness.propose_rho` with its defaults: after one epoch without a "
    "method, from three minibatches; the geometric mean over three seeds other than those of the "
    "table (`experiments/papers/radius/proposed_*.json` has each with its reasons).",
    f"The grid of eight is {RADII[0]:g} to {RADII[-1]:g} in factors of 2; the short one has "
    f"{', '.join(map(str, FACTORS))} times the proposal. Both are searched on held-out data with "
    "one seed, and the best quarter with two more (`chosen_*.json` beside it). The learning rate "
    "is the same in all rows: the best one for SAM in an earlier search on digits and CIFAR-10, "
    "the published one on ETTh1, that of the config for the language model.",
    "Each seed draws its own initial weights and order, and on images its own wrong labels and "
    "subset.",
]
_LIMITS = (
    "The default rise of `propose_rho` was chosen with the trials of these four tasks at hand, so "
    "that another task may fare worse. Regret is measured at one learning rate."
)
_NOT_CHOSEN = (
    "The settings have not been chosen yet: python -m experiments.papers.search radius.{name} "
    "--data_dir=DIR"
)
_METRICS = {
    "digits": "test_accuracy",
    "cifar": "test_accuracy",
    "forecasting": "test_mse",
    "language": "test_loss",
}


def _item(name: str, task: Task) -> Item:
    metric = _METRICS[name]
    images = metric == "test_accuracy"
    limits = _LIMITS if chosen_file(name, "few").exists() else _NOT_CHOSEN.format(name=name)
    return Item(
        title=f"Which rho? {task.title}",
        rows=partial(_rows, name),
        seeds=dict.fromkeys(SCALES, 3 if name == "language" else 5),
        metrics=[metrics.last(metric, decimals=2 if images else 4)],
        draw=drawings.dots(metric),
        name=lambda params: params["row"],
        unnamed=("rho", "budget", "rho_max"),
        against=against_row(SEARCHED),
        choices=_CHOICES,
        draws_data=images,
        limits=dict.fromkeys(SCALES, limits),
    )


ITEMS = {name: _item(name, task) for name, task in TASKS.items()}
