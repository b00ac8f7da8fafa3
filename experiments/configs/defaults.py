"""The default of every key, by task."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from experiments.configs import base, continual, forecasting, language, translation

# Setups whose tasks have keys that base.py does not have.
_SETUPS: Mapping[str, Callable[[], ConfigDict]] = {
    "forecasting": forecasting.get_config,
    "language": language.get_config,
    "multi_head": continual.get_config,
    "translation": translation.get_config,
}


def defaults(task: str) -> ConfigDict:
    """The defaults of ``base.py``, and of the keys that only the setup of the task has."""
    config = base.get_config()
    if task in _SETUPS:
        setup = _SETUPS[task]().copy_and_resolve_references()
        config.update({key: value for key, value in setup.items() if key not in config})
    return config
