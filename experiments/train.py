r"""Trains one model with one method.

For example::

    python -m experiments.train --config=experiments/configs/digits.py \
        --config.method=lookbehind_sam:k=5,alpha=0.5 --workdir=runs/mine

``configs/base.py`` lists every key, ``docs/training.md`` has the rest. The same command again
resumes from the newest checkpoint.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from experiments import cli, models
from experiments.continual import results
from experiments.data.pipeline import Pipeline
from experiments.parallel import multihost
from experiments.storage.lock import only_writer
from experiments.tasks.continual.learners import is_lifelong
from experiments.training import run_dir
from experiments.training.checkpoints import Checkpoints, Progress
from experiments.training.interrupts import postponed
from experiments.training.loggers import Logger, NullLogger, RunLogger
from experiments.training.loop import train
from experiments.training.metrics import (
    METRICS,
    AllStepsSkippedError,
    NotFiniteError,
    Record,
    advice,
    best_epoch,
)
from experiments.training.phases import read_phases
from experiments.training.save_schedule import every
from experiments.training.setup import make_run, seed_keys
from experiments.training.state import TrainState
from experiments.training.trainer import Load, Trainer
from experiments.training.weights import load_run


def main(config: ConfigDict, workdir: Path | None = None, *, show_progress: bool = True) -> None:
    """Calls :func:`run`, and ends the program with one line where it raises an error."""
    with cli.user_errors():
        workdir = workdir or run_dir.default_workdir(config)
        with cli.resumable(workdir, config.epochs):
            try:
                run(config, workdir, show_progress=show_progress)
            except (NotFiniteError, AllStepsSkippedError) as error:
                raise ValueError(" ".join([f"{error}.", *error.__notes__])) from error


def run(config: ConfigDict, workdir: Path, *, show_progress: bool = True) -> list[Record]:
    """Trains ``config``, resuming from ``workdir`` if it holds a checkpoint.

    Args:
      config: the config.
      workdir: folder for the results; made if missing.
      show_progress: whether to show a progress bar and print a summary.

    Returns:
      The metrics of each epoch.

    Raises:
      ValueError: if a value of the config is invalid, or the folder holds another run.
      OSError: if a file cannot be read or written.
      NotFiniteError: if the loss becomes infinite or NaN; a note has the newest checkpoint.
      AllStepsSkippedError: if all steps of an epoch were skipped as not finite; likewise.
    """
    run_dir.check_config(workdir, config)
    trainer, pipeline = make_run(config)
    with ExitStack() as stack:
        if multihost.is_main_process():
            stack.enter_context(only_writer(workdir))
            run_dir.write_config(workdir, config)
        checkpoints = stack.enter_context(
            Checkpoints(workdir / run_dir.CHECKPOINTS, _keep_epochs(config), pipeline.steps)
        )
        progress = checkpoints.restore(trainer.abstract_state)
        if progress is None:
            progress = Progress(initial_state(config, trainer), [])
        elif multihost.is_main_process() and show_progress:
            print(f"Resuming after {progress}.", file=sys.stderr)
        with (
            _noted(checkpoints),
            make_logger(
                config, workdir, pipeline, trainer.score, progress.history, show_progress
            ) as logger,
            postponed() as interrupted,
        ):
            save = every(config, checkpoints.save, pipeline.steps, interrupted)
            _, history = train(
                trainer,
                pipeline,
                *progress,
                eval_every=config.epochs_per_task if is_lifelong(config) else config.eval_every,
                patience=config.patience,
                logger=logger,
                save=save,
            )
        if is_lifelong(config) and multihost.is_main_process():
            results.write(config, pipeline, history, workdir)
    if multihost.is_main_process() and show_progress:
        is_stream = is_lifelong(config)
        print(results.summary(workdir) if is_stream else summary(trainer, history, workdir))
        for _, method in read_phases(config):
            print(f"  {method.setting(config.optimizer, config.learning_rate)}")
    return history


@contextmanager
def _noted(checkpoints: Checkpoints) -> Iterator[None]:
    """Adds the newest checkpoint, and advice, to an error of the training itself."""
    try:
        yield
    except (NotFiniteError, AllStepsSkippedError) as error:
        error.add_note(f"The newest checkpoint: {checkpoints.newest_path()}. {advice(error)}")
        raise


def _keep_epochs(config: ConfigDict) -> range:
    """The numbers of finished epochs whose checkpoints are kept."""
    every_epochs = config.keep_every or config.epochs + 1
    return range(every_epochs, config.epochs + 1, every_epochs)


def initial_state(config: ConfigDict, trainer: Trainer) -> TrainState:
    """The state before the first step."""
    load: Load | None = None
    if config.pretrained:
        path = Path(config.pretrained)
        load = partial(load_run if path.is_dir() else models.load_vit_checkpoint, path)
    init_key, _ = seed_keys(config.seed)
    return trainer.init(init_key, load)


def make_logger(
    config: ConfigDict,
    workdir: Path,
    pipeline: Pipeline,
    score: str,
    history: Sequence[Record],
    show_progress: bool = True,
) -> Logger:
    """The logger of this process."""
    if not multihost.is_main_process():
        return NullLogger()
    return RunLogger(
        workdir,
        history,
        epochs=config.epochs,
        steps=pipeline.steps,
        examples_per_step=pipeline.examples_per_step,
        score=score,
        unit=pipeline.unit,
        show_progress=show_progress,
    )


def summary(trainer: Trainer, history: Sequence[Record], workdir: Path) -> str:
    """One-line summary of a finished run."""
    last = history[-1]
    names = [f"{split}_{trainer.score}" for split in ("val", "test")]
    scores = ", ".join(_score(name, history) for name in names if name in last)
    seconds = run_dir.total_seconds(workdir)
    return (
        f"{trainer.title}: {scores}, training loss {last['train_loss']:.4f} after "
        f"{last['epoch']} epochs and {seconds:.1f} s; written to {workdir}"
    )


def _score(name: str, history: Sequence[Record]) -> str:
    """The metric after the last and the best epoch."""
    metric, last, best = METRICS[name], history[-1], best_epoch(history, name)
    text = f"{metric.label} {metric.text(last[name])}"
    if "best_epoch" in last and name.startswith("test"):
        return f"{text} with the weights of epoch {last['best_epoch']}"
    return f"{text} (best {metric.text(best[name])} after epoch {best['epoch']})"


if __name__ == "__main__":
    flags.adopt_module_key_flags(multihost)  # --help shows them
    cli.run(main, before=multihost.connect)
