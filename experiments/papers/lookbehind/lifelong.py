"""Tables 2 and 7: lifelong learning with and without replay and with C-MAML; its grid search."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from experiments.configs import continual
from experiments.configs.base import with_changes
from experiments.methods import spec
from experiments.methods.table import METHODS
from experiments.results import drawings, metrics
from experiments.results.item import LAPTOP, PAPER, Item
from experiments.results.row import Params, Row, method_title
from experiments.results.table import Table
from experiments.tasks.continual.learners import LEARNERS

_STREAMS = {
    "laptop": {"Split-digits": "digits"},
    "paper": {"Split-CIFAR100": "cifar100", "Split-TinyImageNet": "tiny"},
}
_EXAMPLES = {"digits": 1437, "cifar100": 50_000, "tiny": 100_000}
_CLASSES = {"digits": 10, "cifar100": 100, "tiny": 200}

_PUBLISHED = {
    "cifar100": (
        (58.41, 4.95), (57.81, 1.05), (59.58, 0.34), (59.93, 1.54), (64.84, 1.29),
        (68.28, 1.30), (65.49, 4.10), (68.87, 0.79), (65.44, 0.99), (67.15, 0.74),
    ),
    "tiny": (
        (43.48, 0.80), (56.34, 1.72), (56.09, 1.17), (56.60, 0.68), (49.19, 0.93),
        (65.59, 0.19), (65.75, 0.16), (65.91, 0.27), (61.93, 1.55), (62.16, 0.86),
    ),
}  # fmt: skip

# The rows of Table 2: learner (None: no replay), method, and its setting: rate, rho, k, alpha, as
# far as it has them. Settings of Table 7, but for ER + SGD and C-MAML, which it does not have.
_ROWS: list[tuple[str | None, str]] = [
    *product((None, "er"), ("none", "sam", "multistep_sam", "lookbehind_sam")),
    ("cmaml", "none"),
    ("lookbehind_cmaml", "sam"),
]
_TABLE_7: Mapping[str, Sequence[tuple[float, ...]]] = {
    "cifar100": (
        (0.03,), (0.03, 0.05), (0.01, 0.01, 2), (0.1, 0.05, 10, 0.1),
        (0.03,), (0.1, 0.05), (0.1, 0.05, 10), (0.03, 0.05, 10, 0.2),
        (0.075, 5), (0.03, 0.005, 2, 1.0),
    ),
    "tiny": (
        (0.03,), (0.03, 0.05), (0.03, 0.05, 2), (0.01, 0.05, 10, 0.1),
        (0.03,), (0.03, 0.1), (0.03, 0.1, 10), (0.01, 0.1, 5, 0.5),
        (0.03, 5), (0.03, 0.1, 2, 1.0),
    ),
    # Rate chosen on the held-out tenth of the training set with other seeds:
    # docs/lifelong-learning.md.
    "digits": (
        *(((0.1,), (0.1, 0.05), (0.1, 0.05, 2), (0.1, 0.05, 2, 0.5)) * 2),
        (0.1, 5), (0.1, 0.05, 2, 1.0),
    ),
}  # fmt: skip


def _table_2(scale: str) -> list[Row]:
    # A network so small that the tasks interfere.
    changes = {"model": "cnn2_8_16", "epochs_per_task": 10} if scale == LAPTOP else {}
    return [
        _row(name, stream, *row, setting, published, changes)
        for name, stream in _STREAMS[scale].items()
        for row, setting, published in zip(
            _ROWS, _TABLE_7[stream], _PUBLISHED.get(stream, [None] * len(_ROWS)), strict=True
        )
    ]


def _row(
    name: str,
    stream: str,
    learner: str | None,
    method: str,
    values: Sequence[float],
    published: tuple[float, float] | None,
    changes: Mapping[str, Any],
) -> Row:
    """The row of a learner and method.

    Args:
      name: the stream's name in headings.
      stream: its name in the config.
      learner: er, cmaml or lookbehind_cmaml; None for er without a memory.
      method: the method that descends on the learner's loss.
      values: rate, and those of rho, k and alpha that learner or method has.
      published: the paper's average accuracy.
      changes: other keys of the config.
    """
    known = _arguments(learner, method)
    rate, *others = values
    given = dict(zip([key for key in ("rho", "k", "alpha") if key in known], others, strict=True))
    arguments = {key: given[key] for key in known if key in given}
    config = with_changes(continual.get_config(stream), {**changes, "learning_rate": rate})
    if learner in ("cmaml", "lookbehind_cmaml"):
        config.learner = spec.write(learner, arguments)
        if method != "none":  # Algorithm 4: the outer step with the rho of the inner ones
            config.method = spec.write(method, {"rho": arguments["rho"]})
    else:
        config.method = spec.write(method, arguments)
    if learner is None:
        config.memory = 0
    params = {"setting": name, "learner": learner, "method": method, "rate": rate, **arguments}
    examples = _EXAMPLES[stream] * (1 - config.validation)
    of_a_task = round(examples) // _CLASSES[stream] * config.classes_per_task
    return Row(params, config, published, minibatches=of_a_task // config.batch_size)


def _arguments(learner: str | None, method: str) -> Mapping[str, Any]:
    """The arguments of a meta learner, of other learners those of the method."""
    return LEARNERS[learner or "er"].defaults or METHODS[method].defaults


def _title(params: Params) -> str:
    learner = params["learner"]
    if learner == "er":
        return f"ER + {method_title(params)}"
    # La-MAML's C-MAML is Lookahead-C-MAML in the paper.
    titles = {"cmaml": "Lookahead-C-MAML", "lookbehind_cmaml": "Lookbehind-C-MAML"}
    return titles.get(learner, method_title(params))


def _against(params: Params) -> Params | None:
    learner, method = params["learner"], params["method"]
    if learner == "lookbehind_cmaml":
        return {"learner": "cmaml"}
    if learner == "cmaml":
        return {"learner": "er", "method": "none"}
    if method == "none":
        return {"learner": None, "method": "none"} if learner == "er" else None
    return {"learner": learner, "method": "none" if method == "sam" else "sam"}


def _effect_of_replay(table: Table) -> Iterator[Mapping[str, Any]]:
    """Forgetting with replay minus that of the same method and seed without, in points."""
    forgetting = table.where(metric="forgetting")
    for rows in forgetting.group("setting", "method", "seed").values():
        for without, replay in zip(
            rows.where(learner=None), rows.where(learner="er"), strict=False
        ):
            effect = replay["value"] - without["value"]
            yield {**replay, "metric": "effect_of_replay", "value": effect}


# Rate, rho, k, alpha: Table 6, and what scale laptop takes of it.
_GRID: Mapping[str, Mapping[str, Sequence[float]]] = {
    PAPER: {
        "rate": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001),
        "rho": (0.005, 0.01, 0.05, 0.1),
        "k": (2, 5, 10),
        "alpha": (0.1, 0.2, 0.5, 0.8, 1.0),
    },
    LAPTOP: {"rate": (0.1, 0.03), "rho": (0.05, 0.1), "k": (2,), "alpha": (0.2, 1.0)},
}


def _table_7(scale: str) -> list[Row]:
    """Every setting of every method, with and without replay, scored on the test set."""
    changes = {"epochs_per_task": 3, "memory": 20} if scale == LAPTOP else {}
    rows = []
    for name, stream in _STREAMS[scale].items():
        for learner, method in [row for row in _ROWS if row[0] != "cmaml"]:
            known = ["rate", *_arguments(learner, method)]
            grid = [values for key, values in _GRID[scale].items() if key in known]
            for values in product(*grid):
                rows.append(_row(name, stream, learner, method, values, None, changes))
    return rows


def _chosen(table: Table) -> Iterator[Mapping[str, Any]]:
    """1 if no setting of the same method has a higher accuracy with this seed, else 0."""
    accuracies = table.where(metric="average_accuracy")
    for rows in accuracies.group("setting", "learner", "method", "seed").values():
        best = max(row["value"] for row in rows)
        for row in rows:
            yield {**row, "metric": "chosen", "value": float(row["value"] == best)}


_ACCURACY = metrics.final("average_accuracy", "average accuracy, %")
_FORGETTING = metrics.final("forgetting", "forgetting, %", higher_is_better=False)

ITEMS = {
    "table2": Item(
        title="Lifelong learning: average accuracy and forgetting",
        rows=_table_2,
        seeds={"laptop": 3, "paper": 3},
        metrics=[
            _ACCURACY,
            _FORGETTING,
            metrics.final("backward_transfer", "backward transfer, %"),
            metrics.final("learning_accuracy", "learning accuracy, %"),
            metrics.derived(
                "effect_of_replay", "forgetting with minus without replay", higher_is_better=False
            ),
        ],
        draw=drawings.dots("average_accuracy"),
        name=_title,
        against=_against,
        derive=_effect_of_replay,
        choices=[
            "The authors published no code for this table. The setup is that of La-MAML's code, "
            "which the paper replicates; its Lookahead-C-MAML is La-MAML's C-MAML, whose numbers "
            "it copies.",
            "At scale laptop one rate, the best for ER + SGD on held-out images, and untuned rho = "
            "0.05, k = 2, alpha = 0.5.",
            "At scale paper rates, radii, k and alpha are those of the paper's Table 7, chosen on "
            "the test set; ER + SGD is not in it (rate 0.03), Lookahead-C-MAML has La-MAML's "
            "rates.",
            "Every method replays 10 examples a step and stores each example once, in the first "
            "epoch of its task.",
            "Algorithm 4 as printed does not adapt before its meta step: SAM is taken on the meta "
            "loss (meta_step=adapted), with the meta loss averaged over inner steps, as C-MAML's "
            "code does.",
            "The seed decides the order of the classes, so that differences are paired.",
            "The published forgetting is in docs/lifelong-learning.md.",
        ],
        limits={
            LAPTOP: "Five tasks of two digits, a very small network, ten epochs a task: it shows "
            "forgetting and what replay does about it. It cannot rank the sharpness-aware methods, "
            "which three seeds of a task this easy do not separate."
        },
    ),
    "table7": Item(
        title="Hyper-parameters of lifelong learning: accuracy of every setting of the grid",
        rows=_table_7,
        seeds={"laptop": 1, "paper": 3},
        metrics=[
            _ACCURACY,
            metrics.derived("chosen", "chosen", decimals=0, higher_is_better=None),
            _FORGETTING,
        ],
        draw=drawings.dots("average_accuracy"),
        name=_title,
        derive=_chosen,
        choices=[
            "As in the paper the accuracy is that on the test set; choosing by it favours methods "
            "with larger grids. The choice is made for each seed, the paper's once.",
            "The paper's choices, as {rate, rho, k, alpha} without those that the method does not "
            "have, on Split-CIFAR100: SGD {0.03}; SAM {0.03, 0.05}; Multistep-SAM {0.01, 0.01, 2}; "
            "Lookbehind-SAM {0.1, 0.05, 10, 0.1}; ER + SAM {0.1, 0.05}; ER + Multistep-SAM {0.1, "
            "0.05, 10}; ER + Lookbehind-SAM {0.03, 0.05, 10, 0.2}; Lookbehind-C-MAML {0.03, 0.005, "
            "2, 1}.",
            "On Split-TinyImageNet: SGD {0.03}; SAM {0.03, 0.05}; Multistep-SAM {0.03, 0.05, 2}; "
            "Lookbehind-SAM {0.01, 0.05, 10, 0.1}; ER + SAM {0.03, 0.1}; ER + Multistep-SAM {0.03, "
            "0.1, 10}; ER + Lookbehind-SAM {0.01, 0.1, 5, 0.5}; Lookbehind-C-MAML {0.03, 0.1, 2, "
            "1}.",
        ],
        limits={
            LAPTOP: "Five tasks of two digits and a small part of the grid with one seed: it shows "
            "how far the settings differ, not which one is best."
        },
    ),
}
