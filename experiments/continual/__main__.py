r"""Learns a sequence of tasks, one after the other, and measures how much is forgotten.

For example::

    python -m experiments.continual --config=experiments/configs/continual.py:cifar100 \
        --config.learner=er --config.memory=200 --config.method=sam:rho=0.05 --workdir=runs/er-sam

``configs/continual.py`` lists the keys, ``docs/lifelong-learning.md`` has the rest. The same
command again resumes after the last finished epoch.
"""

import sys
from functools import partial
from operator import mul
from pathlib import Path

from ml_collections import ConfigDict

from experiments import cli, train
from experiments.continual import results
from experiments.continual.setup import ContinualRun, abstract_state, make_run
from experiments.continual.train import train_stream
from experiments.storage.lock import only_writer
from experiments.training import run_dir
from experiments.training.checkpoints import Checkpoints
from experiments.training.interrupts import postponed
from experiments.training.loggers import Logger, RunLogger
from experiments.training.metrics import Record
from experiments.training.save_schedule import every


def main(config: ConfigDict, workdir: Path | None = None, *, show_progress: bool = True) -> None:
    """Calls :func:`run`, and ends the program with one line where it raises an error."""
    train.command(run, config, workdir, show_progress)


def run(config: ConfigDict, workdir: Path, *, show_progress: bool = True) -> list[Record]:
    """Trains ``config`` as :func:`experiments.train.run` does, on the tasks of a stream."""
    run_dir.check_config(workdir, config)
    run = make_run(config)
    with only_writer(workdir):
        run_dir.write_config(workdir, config)
        history = _train(run, workdir, show_progress)
        result = results.write(run, history, workdir)
    if show_progress:
        print(results.summary(run, result, workdir))
    return history


def _train(run: ContinualRun, workdir: Path, show_progress: bool) -> list[Record]:
    """Trains to the end, from the newest checkpoint if there is one."""
    with Checkpoints(workdir / run_dir.CHECKPOINTS, train.keep_epochs(run.config)) as checkpoints:
        progress = checkpoints.restore(lambda epochs: abstract_state(run))
        state, history = (run.init(), []) if progress is None else progress[:2]
        if history and show_progress:
            print(f"Resuming after {progress}.", file=sys.stderr)
        with (
            train.noted(checkpoints),
            _logger(run, workdir, history, show_progress) as logger,
            postponed() as interrupted,
        ):
            save = every(run.config, checkpoints.save, int, interrupted)
            return train_stream(run, state, history, logger, save)


def _logger(run: ContinualRun, workdir: Path, history: list[Record], show_progress: bool) -> Logger:
    return RunLogger(
        workdir,
        history,
        epochs=run.config.epochs,
        steps=partial(mul, round(sum(run.steps_per_epoch) / len(run.steps_per_epoch))),
        examples_per_step=run.config.batch_size,
        score="accuracy",
        show_progress=show_progress,
    )


if __name__ == "__main__":
    cli.run(main, default="continual")
