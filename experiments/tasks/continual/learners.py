"""The learners by name: plain training with or without replay (ER), C-MAML, Lookbehind-C-MAML.

A learner is named with its arguments in one string, ``lookbehind_cmaml:k=2,rho=0.005``, as methods
are. It defines the loss of a training step; the method descends on that loss.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs.lookup import look_up
from experiments.methods import spec
from experiments.methods.method import BoundMethod
from experiments.methods.table import method
from experiments.tasks.continual.meta import MetaLearner

JOINT = "joint"  # not a learner: all tasks at once
_OUTER = "outer"  # inner_learning_rate: the config's learning_rate

_META = {"inner_learning_rate": _OUTER, "clip": 2.0}


class Learner(NamedTuple):
    """A row of the table.

    Attributes:
      title: its usual name.
      defaults: its arguments; see :class:`~experiments.tasks.continual.meta.MetaLearner`.
    """

    title: str
    defaults: Mapping[str, Any]


class BoundLearner(NamedTuple):
    """A learner with a value for each of its arguments.

    Attributes:
      name: its name in the table.
      row: its row.
      arguments: all of them.
    """

    name: str
    row: Learner
    arguments: Mapping[str, Any]

    @property
    def is_meta(self) -> bool:
        """Whether its loss is a meta loss."""
        return bool(self.arguments)

    def meta_learner(self, learning_rate: float) -> MetaLearner:
        """The options of a meta learner whose outer learning rate is ``learning_rate``."""
        arguments = dict(self.arguments)
        if arguments["inner_learning_rate"] == _OUTER:
            arguments["inner_learning_rate"] = learning_rate
        return MetaLearner(**arguments)

    def gradients(self, batch_size: int, replay: int) -> float:
        """Cost of a gradient of its loss, in gradients of ``batch_size`` examples.

        Differentiation through the inner gradients is not counted: compare seconds for that.
        """
        joint = (batch_size + replay) / batch_size
        if not self.is_meta:
            return joint
        inner = 1.0 if self.arguments.get("rho") is None else 2.0
        return inner + self.arguments["k"] * joint


LEARNERS: Mapping[str, Learner] = {
    "er": Learner("ER", {}),
    "cmaml": Learner("C-MAML", {"k": 5, **_META}),
    # Algorithm 4 has SAM's step on the meta loss, which is the config's method.
    "lookbehind_cmaml": Learner("Lookbehind-C-MAML", {"k": 2, "rho": 0.005, "alpha": 1.0, **_META}),
}


def learner(text: str) -> BoundLearner:
    """The learner that a string names.

    Raises:
      ValueError: if there is no such learner, it does not have one of the arguments, or a value is
        invalid; the message shows the valid names, or its arguments and defaults.
    """
    parsed = spec.parse(text)
    row = look_up("learner", parsed.name, LEARNERS)
    bound = BoundLearner(parsed.name, row, spec.bind(parsed, row.defaults))
    try:
        _check(bound.arguments)
    except ValueError as error:
        raise ValueError(f"{error} {spec.describe(parsed.name, row.defaults)}") from error
    return bound


def is_lifelong(config: ConfigDict) -> bool:
    """Whether a run learns one task after the other: it has a learner, and that is not "joint"."""
    return config.get("learner", JOINT) != JOINT


def title(config: ConfigDict, bound: BoundMethod) -> str:
    """The name of a run's method, and of its learner: ``ER + SAM``, ``Lookbehind-C-MAML``."""
    name = bound.title(config.optimizer)
    if not is_lifelong(config):
        return name
    learns = learner(config.learner)
    if not learns.is_meta:
        return f"{learns.row.title} + {name}" if config.memory else name
    return learns.row.title if bound.name == "none" else f"{learns.row.title} + {name}"


def gradients_per_step(config: ConfigDict, applied: float | None = None) -> float:
    """Mean number of gradients of a step of a lifelong run, each of one batch without replay.

    Differentiation through the inner steps of a meta learner is not counted.

    Args:
      config: the run's config.
      applied: fraction of the steps that were sharpness-aware; default None: the expected one.
    """
    replay = min(config.replay, config.memory)
    cost = learner(config.learner).gradients(config.batch_size, replay)
    return method(config.method).gradients_per_step(applied, clean=cost, perturbed=cost)


def _check(arguments: Mapping[str, Any]) -> None:
    if arguments.get("k", 1) < 1:
        raise ValueError(f"k must be an integer >= 1, got {arguments['k']}.")
    if not 0 < arguments.get("alpha", 1) <= 1:
        raise ValueError(f"alpha must be in (0, 1], got {arguments['alpha']}.")
    for name in ("rho", "clip"):
        if not arguments.get(name, 1) > 0:
            raise ValueError(f"{name} must be > 0, got {arguments[name]}.")
    rate = arguments.get("inner_learning_rate", _OUTER)
    if rate != _OUTER and (isinstance(rate, str) or not rate > 0):
        raise ValueError(f"inner_learning_rate must be > 0 or {_OUTER!r}, got {rate!r}.")
