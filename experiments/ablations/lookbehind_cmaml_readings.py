"""Readings of Algorithm 4, which does not run as printed, compared on Split-digits.

Trains Lookbehind-C-MAML with each reading at the laptop scale of Table 2, three seeds, and prints
average accuracy and forgetting on the test set, with the paired difference of the accuracy to the
default readings::

    python -m experiments.ablations.lookbehind_cmaml_readings
"""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from experiments.configs.base import with_changes
from experiments.continual.results import accuracy_matrix
from experiments.continual.scores import scores
from experiments.continual.setup import make_run
from experiments.continual.train import train
from experiments.recipes.lookbehind import table2
from experiments.recipes.recipe import LAPTOP
from experiments.recipes.statistics import paired
from experiments.training.loggers import NullLogger

SEEDS = range(3)
READINGS = (
    "",
    "meta_step=slow",
    "meta_step=fast",
    "meta_step=plain",
    "ascent=fixed",
    "ascent=fast",
    "meta_loss=last",
    "first_order=true",
)


def measure(reading: str, seeds: Sequence[int] = SEEDS, **changes: object) -> Mapping[str, list]:
    """Scores of a reading, one for each seed."""
    (cell,) = (c for c in table2.cells(LAPTOP) if c.row == "Lookbehind-C-MAML")
    text = ",".join(filter(None, [cell.config.learner, reading]))
    found: dict[str, list] = {}
    for seed in seeds:
        run = make_run(with_changes(cell.config, {"learner": text, "seed": seed, **changes}))
        history = train(run, run.init(), [], NullLogger(), save=lambda state, history: None)
        for name, score in scores(accuracy_matrix(history, "test", run.stream.tasks)).items():
            found.setdefault(name, []).append(100 * score)
    return found


def main() -> None:
    """Prints the table."""
    print("| reading | average accuracy, % | forgetting, % | difference, 95% interval |")
    print("|---|---:|---:|---:|")
    default = None
    for reading in tqdm(READINGS):
        found = {name: np.array(values) for name, values in measure(reading).items()}
        cells = [
            f"{found[name].mean():.2f} ± {found[name].std(ddof=1):.2f}"
            for name in ("average_accuracy", "forgetting")
        ]
        if default is None:
            default, difference = found, "-"
        else:
            effect = paired(found["average_accuracy"] - default["average_accuracy"])
            low, high = effect.interval or (np.nan, np.nan)
            difference = f"{effect.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
        tqdm.write(f"| {reading or 'default'} | {' | '.join(cells)} | {difference} |")


if __name__ == "__main__":
    main()
