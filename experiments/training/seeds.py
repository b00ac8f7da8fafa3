"""Several seeds of one config, trained one after the other with one compiled step."""

from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from experiments.configs.base import with_changes
from experiments.parallel.mesh import make_mesh
from experiments.training.loggers import Logger
from experiments.training.loop import train
from experiments.training.metrics import Record
from experiments.training.phases import read_phases
from experiments.training.setup import make_run, make_task, seed_keys
from experiments.training.state import TrainState


def train_seeds(
    config: ConfigDict, seeds: Sequence[int], logger: Logger | None = None
) -> Iterator[tuple[TrainState, list[Record]]]:
    """Trains on one device with each seed, and yields the last state and the metrics.

    The numbers are those of separate runs, except for methods that draw (SS-SAM, ESAM): their key
    is part of the compiled step, so every seed has the draws of ``config.seed``.

    Not in parallel under ``jax.vmap``: that makes grouped convolutions, 2 to 3 times slower on a
    CPU, and turns a ``lax.cond`` that skips gradients into one that takes both branches.
    """
    mesh = make_mesh(1)
    trainer, _ = make_run(config, mesh)
    num_minibatches = read_phases(config)[0].method.minibatches
    for seed in seeds:
        _, pipeline = make_task(with_changes(config, {"seed": seed}), mesh, num_minibatches)
        init_key, _ = seed_keys(seed)
        state = trainer.init(init_key)
        yield train(trainer, pipeline, state, patience=config.patience, logger=logger)
