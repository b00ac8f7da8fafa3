r"""Trains one model with one method.

For example::

    python -m experiments.train --config=experiments/configs/digits.py \
        --config.method=lookbehind_sam:k=5,alpha=0.5 --workdir=runs/mine

``configs/base.py`` lists every key, ``docs/training.md`` has the rest. The same command again goes
on where the last one stopped.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags, logging
from ml_collections import ConfigDict

from experiments import cli, models
from experiments.configs.validation import check_ranges
from experiments.data import pipeline as feeds
from experiments.methods.table import method
from experiments.parallel import multihost as hosts
from experiments.parallel.mesh import make_mesh, place, replicated
from experiments.training import metrics
from experiments.training import run_dir as files
from experiments.training.checkpoints import Checkpoints, Progress
from experiments.training.loggers import Logs, Silence
from experiments.training.method_switch import methods_by_epoch
from experiments.training.setup import Program, build_program, compiled, keys, take_steps
from experiments.training.state import TrainState


class Run(NamedTuple):
    """What a config comes to.

    Attributes:
      config: the config.
      feed: its data.
      methods: the name of each epoch's method.
      programs: by that name.
      sharding: how the state is placed: the same on all devices.
    """

    config: ConfigDict
    feed: feeds.Feed
    methods: list[str]
    programs: dict[str, Program]
    sharding: jax.sharding.NamedSharding

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return feeds.steps_per_epoch(self.config, self.feed.facts.examples)


def main(config: ConfigDict, workdir: Path | None = None) -> None:
    """Runs ``config``, or the rest of it; results go to ``workdir``."""
    workdir = workdir or default_workdir(config)
    with cli.user_errors():
        files.check_config(workdir, config)
        run = make_run(config)
        if hosts.is_first():
            workdir.mkdir(parents=True, exist_ok=True)
            files.write_config(workdir, config)
    folder = workdir / files.CHECKPOINTS
    with cli.user_errors(), Checkpoints(folder, config.keep_every) as checkpoints:
        progress = checkpoints.restore(partial(shapes_after, run))
        if progress is None:
            progress = Progress(initial_state(run), [])
        else:
            logging.warning("Going on after epoch %d.", len(progress.history))
        train(run, progress, checkpoints, workdir)
    if hosts.is_first():
        print(summary(run, workdir))


def default_workdir(config: ConfigDict) -> Path:
    """A folder named after the run."""
    return Path("runs") / f"{config.dataset}-{config.model}-{config.method}-seed{config.seed}"


def make_run(config: ConfigDict) -> Run:
    """Loads the data and builds the program of every method that the config uses."""
    check_ranges(config)  # before the data is opened, which can take long
    mesh = make_mesh()
    names = methods_by_epoch(config)
    _, order_key = keys(config.seed)
    feed = feeds.make(config, mesh, order_key)
    programs = {}
    for name in dict.fromkeys(names):
        its_config = deepcopy(config)
        its_config.method = name
        programs[name] = compiled(build_program(its_config, feed.facts, feed.select, mesh))
    return Run(config, feed, names, programs, replicated(mesh))


def initial_state(run: Run) -> TrainState:
    """The state before the first step."""
    path = run.config.pretrained
    load = partial(models.load_vit_checkpoint, path) if path else None
    init_key, _ = keys(run.config.seed)
    return place(run.programs[run.methods[0]].init(init_key, load), run.sharding)


def shapes_after(run: Run, epochs: int) -> TrainState:
    """Shapes, types and placement of the state after so many epochs."""
    init_key, _ = keys(run.config.seed)
    shapes = jax.eval_shape(run.programs[run.methods[epochs - 1]].init, init_key)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=run.sharding), shapes
    )


def train(run: Run, progress: Progress, checkpoints: Checkpoints, workdir: Path) -> None:
    """Trains to the last epoch, with a line in the logs and a checkpoint after each."""
    state, history = progress
    first = len(history)
    with Logs(workdir, run.config, history, run.steps) if hosts.is_first() else Silence() as logs:
        for epoch, batches in enumerate(run.feed.train(first), start=first):
            name = run.methods[epoch]
            program = run.programs[name]
            if epoch and name != run.methods[epoch - 1]:
                state = place(program.adopt(state, epoch * run.steps), run.sharding)
            logs.start_epoch(epoch + 1, method(name).title(run.config.optimizer))
            state, of_steps = take_steps(program, state, batches, logs.watch)
            of_test = [program.evaluate(state, batch) for batch in run.feed.test()]
            try:
                means = metrics.of_epoch(of_steps, of_test)
            except (metrics.NotFiniteError, metrics.NoStepError) as error:
                raise ValueError(_stopped(error, epoch, run.steps, checkpoints)) from error
            history = [*history, {"epoch": epoch + 1} | means]
            logs.end_epoch(history[-1])
            checkpoints.save(Progress(state, history))


def _stopped(
    error: metrics.NotFiniteError | metrics.NoStepError,
    epoch: int,
    steps: int,
    checkpoints: Checkpoints,
) -> str:
    """Where the run stopped, with epochs and steps counted from 1, and what may help."""
    if isinstance(error, metrics.NoStepError):
        what = f"all {steps} steps of epoch {epoch + 1} were left out, as they were not finite"
        otherwise = ""
    else:
        what = f"the loss is {error.loss} at step {epoch * steps + error.step}"
        what += f" (epoch {epoch + 1}, step {error.step} of it)"
        otherwise = ", or leave such steps out with skip_nonfinite"
    return (
        f"{what}. The last good checkpoint: {checkpoints.last_good()}. Try a smaller "
        f"learning_rate or rho in another --workdir{otherwise}."
    )


def summary(run: Run, workdir: Path) -> str:
    """A sentence on how the run ended."""
    last = files.read_lines(workdir / files.METRICS)[-1]
    seconds = sum(line["seconds"] for line in files.read_lines(workdir / files.TIMING))
    titles = " then ".join(
        method(name).title(run.config.optimizer) for name in dict.fromkeys(run.methods)
    )
    split = "validation" if run.config.validation else "test"
    return (
        f"{titles}: {split} accuracy {last['test_accuracy']:.2%}, training loss "
        f"{last['train_loss']:.4f} after {last['epoch']} epochs and {seconds:.1f} s; "
        f"written to {workdir}"
    )


if __name__ == "__main__":
    flags.adopt_module_key_flags(hosts)  # --help shows them
    cli.run(main, before=hosts.connect)
