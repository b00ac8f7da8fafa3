"""A small item as ``experiments.reproduce`` makes it, for tests that kill it or run it twice.

python -m tests.support.small_item RUNS OUTPUT
"""

import sys
from functools import partial
from pathlib import Path

from experiments import models, reproduce, train
from experiments.models.resnet import ResNet
from experiments.papers.setting import noisy_digits
from experiments.results import drawings, metrics
from experiments.results.collect import plan
from experiments.results.item import Item

METHODS = {"none": {}, "sam": {"rho": 0.1}, "lookbehind_sam": {"rho": 0.1}}
SEEDS = 2
STARTED = "started.txt"  # one line for each training that a process begins
SMALL = {"train_examples": 128, "batch_size": 64, "epochs": 3, "keep_every": 1, "save_every": 1}


def item():
    """Three methods with a tiny model, and one measure."""
    setting = noisy_digits().with_changes(model="tiny_item", **SMALL)._replace(trained_above=None)
    options = {"radii": (0.1,), "asam_radii": (1.0,), "examples": 128}
    return Item(
        title="small",
        rows=lambda scale: [setting.row(*method) for method in METHODS.items()],
        seeds={"laptop": SEEDS},
        metrics=[
            metrics.last("test_accuracy"),
            metrics.measured("m_sharpness", "loss", "loss", at=metrics.only),
        ],
        draw=drawings.dots("test_accuracy"),
        against=lambda params: {"method": "none"} if params["method"] == "sam" else None,
        measures=lambda scale: {"m_sharpness": options},
    )


def logged(run, root, config, workdir, **options):
    """Notes that a run begins, then does it."""
    with open(root / STARTED, "a", encoding="utf-8") as file:
        file.write(f"{workdir.name}\n")
    return run(config, workdir, **options)


def main(root, output):
    """Does the runs, measures and writes the result."""
    models.MODELS["tiny_item"] = partial(ResNet, widths=(4,), blocks=(1,))
    root.mkdir(parents=True, exist_ok=True)
    train.run = partial(logged, train.run, root)
    reproduce.reproduce([plan("small.table", item(), "laptop", root, None, None)], root, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
