"""A small table as ``experiments.reproduce`` makes it, for tests that kill it or run it twice.

python -m tests.support.small_campaign RUNS OUTPUT
"""

import sys
from functools import partial
from pathlib import Path

from experiments import models, train
from experiments.campaign import report
from experiments.campaign.collect import collect, plan
from experiments.campaign.execute import execute
from experiments.campaign.measuring import measure_all
from experiments.models.resnet import ResNet
from experiments.recipes import beds, drawings, quantities
from experiments.recipes.recipe import MeasureSpec, Recipe

METHODS = {"SGD": "none", "SAM": "sam:rho=0.1", "Lookbehind-SAM": "lookbehind_sam:rho=0.1"}
SEEDS = 2
STARTED = "started.txt"  # one line for each training that a process begins


def recipe():
    """Three methods with a tiny model and two epochs."""
    bed = beds.laptop().with_changes(
        model="tiny_campaign", epochs=3, train_examples=128, batch_size=64, keep_every=1
    )
    return Recipe(
        title="small",
        cells=lambda scale: [beds.cell(bed, row, m) for row, m in METHODS.items()],
        seeds={"laptop": SEEDS},
        quantities=[quantities.test_accuracy(), quantities.train_loss()],
        draw=drawings.rows("test_accuracy"),
        against={"SAM": "SGD"},
        measures=lambda scale: [
            MeasureSpec("m_sharpness", ("--radii=0.1", "--asam_radii=1", "--examples=128"))
        ],
    )


def logged(main, root, config, workdir):
    """Notes that a run begins, then does it."""
    with open(root / STARTED, "a", encoding="utf-8") as file:
        file.write(f"{workdir.name}\n")
    main(config, workdir)


def main(root, output):
    """Does the runs, measures and writes the result."""
    models.MODELS["tiny_campaign"] = partial(ResNet, widths=(4,), blocks=(1,))
    small = plan("small.table", recipe(), "laptop", root, None, None)
    root.mkdir(parents=True, exist_ok=True)
    mains = {"experiments.train": partial(logged, train.main, root)}
    execute(list(small.distinct_runs.values()), mains)
    measure_all(small.measurements, None)
    report.write(small, collect(small), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
