"""A user's own method, named by its import path: ``--config.method=my_module:my_sam:rho=0.1``."""

import functools
import inspect
from typing import Any

import optax

from experiments.configs.lookup import import_function
from experiments.methods.method import Arguments, Context, Method, Step

_GIVEN_BY_THE_RUN = ("total_steps", "axis_name", "sync_perturbation")


@functools.cache
def own_method(path: str) -> Method:
    """The row of ``module:name``: a ``Method``, or a function that makes a transformation.

    A function stands in front of the base optimizer as ``sam`` does. Its arguments with a bool, a
    number or a word as default are those of the method's string; ``total_steps``, ``axis_name`` and
    ``sync_perturbation`` come from the run if it has them.

    Raises:
      ValueError: if there is no such thing, or an argument has no default.
    """
    made = import_function("method", path)
    if isinstance(made, Method):
        return made
    if not callable(made):
        raise ValueError(f"method {path!r} must be a function or a Method, got {made!r}.")
    defaults: dict[str, Any] = {}
    parameters = inspect.signature(made).parameters
    for name, parameter in parameters.items():
        if name in _GIVEN_BY_THE_RUN:
            continue
        if parameter.default is inspect.Parameter.empty:
            raise ValueError(f"method {path!r}: its argument {name} needs a default.")
        if isinstance(parameter.default, (bool, int, float, str)):
            defaults[name] = parameter.default

    def build(arguments: Arguments, run: Context) -> optax.GradientTransformation:
        if run.axis and "axis_name" not in parameters:
            raise ValueError(
                f"method {path!r} must take axis_name for microbatches or per_device_perturbation."
            )
        given = {"total_steps": run.total_steps, **run.axis}
        values = {name: value for name, value in given.items() if name in parameters}
        return run.chain(made(**arguments, **values))

    step = lambda arguments: Step(ascent_steps=arguments.get("k", 1))  # noqa: E731
    return Method(path.partition(":")[2], build, defaults, step)
