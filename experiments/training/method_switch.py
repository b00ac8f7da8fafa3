"""The method of each epoch as a string; :mod:`experiments.training.phases` has the methods."""

from ml_collections import ConfigDict

from experiments.training.phases import method_of_epoch


def methods_by_epoch(config: ConfigDict) -> list[str]:
    """The canonical string of each epoch's method."""
    return [str(method_of_epoch(config, epoch)) for epoch in range(config.epochs)]
