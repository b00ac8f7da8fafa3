"""A row of the table of methods, and a row with a value for each of its arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from experiments.methods import spec
from experiments.methods.optimizers import OPTIMIZERS, optimizer
from experiments.methods.schedules import learning_rate
from experiments.parallel.microbatches import axis_kwargs

Arguments = Mapping[str, Any]

_METHOD_KEY = 1 << 30  # fold_in constant that separates a method's key from those of the run


class Method(NamedTuple):
    """A row of the table.

    Attributes:
      title: the name as the papers write it; ``{optimizer}`` stands for the base optimizer's.
      alias: the function of the library that makes the transformation, or one like it. If it has
        parameters of these names, it also gets ``total_steps``, ``key``, ``axis_name`` and
        ``sync_perturbation``. One that takes ``optimizer`` (and ``learning_rate``) emits the final
        update; behind the others the base optimizer is chained.
      defaults: the arguments that a string may give, with their defaults. Besides those of
        ``alias``: ``rho_over_k`` (k ascent steps of length rho / k), ``fast_optimizer`` as a bool
        (the base optimizer moves the fast weights, as in the authors' code, or is chained behind:
        without momentum, both are Algorithm 1) and ``gamma`` (ESAM: fraction of the examples that
        perturbed gradients are taken on).
      ascent_steps: number of ascent steps of a sharpness-aware step, or "k" for that argument.
      wrap_optimizer: ``(base optimizer, arguments) -> optimizer`` to chain behind.
      wrap_params: ``weights -> params`` of the transformation, e.g. ``optax.LookaheadParams``.
      selects_examples: whether perturbed gradients are taken on the fraction ``gamma`` of the
        examples whose loss the perturbation raised most.
      trains_perturbed_weights: whether the params are perturbed weights, so that the weights to
        evaluate also depend on the optimizer's state (``training.state.weights_of``).
    """

    title: str
    alias: Callable[..., optax.GradientTransformation]
    defaults: spec.Signature
    ascent_steps: int | Literal["k"] = 1
    wrap_optimizer: Callable[[Any, Arguments], optax.GradientTransformation] = lambda tx, _: tx
    wrap_params: Callable[[optax.Params], optax.Params] = lambda weights: weights
    selects_examples: bool = False
    trains_perturbed_weights: bool = False


class BoundMethod(NamedTuple):
    """A method with a value for each of its arguments.

    Attributes:
      name: its name in the table.
      row: its row.
      arguments: all of them, in the order of the row's defaults.
    """

    name: str
    row: Method
    arguments: Arguments

    def __str__(self) -> str:
        """The canonical string: arguments in the table's order, defaults omitted."""
        return spec.write(self.name, spec.non_default(self.arguments, self.row.defaults))

    def title(self, optimizer: str) -> str:
        """The name as the papers write it, with this base optimizer."""
        return self.row.title.format(optimizer=OPTIMIZERS[optimizer].title)

    def label(self, optimizer: str) -> str:
        """The title, with the arguments that differ from their defaults."""
        _, _, arguments = str(self).partition(":")
        title = self.title(optimizer)
        return f"{title} ({arguments.replace(',', ', ')})" if arguments else title

    @property
    def ascent_steps(self) -> int:
        """Number of ascent steps of a sharpness-aware step."""
        steps = self.row.ascent_steps
        return self.arguments["k"] if steps == "k" else steps

    @property
    def minibatches(self) -> int:
        """Number of minibatches of a training step: k with ``switch_minibatch``, else 1."""
        return self.arguments["k"] if self.arguments.get("switch_minibatch") else 1

    @property
    def extra_gradients(self) -> int:
        """Gradients of a sharpness-aware step in addition to the caller's."""
        if self.minibatches > 1:  # two of each minibatch; the caller takes the very first
            return 2 * self.minibatches - 1
        return self.ascent_steps

    @property
    def optimizer_calls(self) -> int:
        """Number of calls of the base optimizer in a training step."""
        return self.arguments["k"] if self.arguments.get("fast_optimizer") else 1

    @property
    def example_fraction(self) -> float | None:
        """Fraction of the examples that perturbed gradients are taken on; None for all."""
        return self.arguments["gamma"] if self.row.selects_examples else None

    @property
    def perturbation(self) -> Literal["sam", "asam"]:
        """The perturbation rule of its ascent steps."""
        return "asam" if "eta" in self.arguments else "sam"

    @property
    def rho(self) -> float | None:
        """Length of each ascent step; None without ascent."""
        rho = self.arguments.get("rho")
        return rho / self.arguments["k"] if self.arguments.get("rho_over_k") else rho

    def build(self, config: ConfigDict, total_steps: int) -> optax.GradientTransformation:
        """The transformation from gradient to update, for ``total_steps`` training steps."""
        # The learning rate changes per minibatch.
        calls = 1 if self.minibatches > 1 else self.optimizer_calls
        minibatches = total_steps * self.optimizer_calls // calls
        return self._transformation(
            optimizer(config, minibatches, calls),
            learning_rate=learning_rate(config, total_steps),
            total_steps=total_steps,
            key=jax.random.fold_in(jax.random.key(config.seed), _METHOD_KEY),
            **axis_kwargs(config.microbatches, config.per_device_perturbation),
        )

    def check(self) -> None:
        """Raises ValueError, with the method's arguments and defaults, if a value is invalid."""
        try:
            if self.row.selects_examples and not 0 < self.arguments["gamma"] <= 1:
                raise ValueError(f"gamma must be in (0, 1], got {self.arguments['gamma']!r}.")
            self._transformation(optax.identity(), learning_rate=1.0, total_steps=1, key=0)
        except ValueError as error:
            raise ValueError(f"{error} {spec.describe(self.name, self.row.defaults)}") from error

    def _transformation(self, base_optimizer: Any, **run: Any) -> optax.GradientTransformation:
        """The alias, called with the arguments that it takes, and the optimizer behind it."""
        parameters = inspect.signature(self.row.alias).parameters
        given = {key: value for key, value in self.arguments.items() if key in parameters}
        if self.arguments.get("rho_over_k"):
            given["rho"] = self.rho
        emits_update = self.arguments.get("fast_optimizer", "optimizer" in parameters)
        inside = {"optimizer": base_optimizer}
        if "fast_optimizer" in given:
            inside["fast_optimizer"] = base_optimizer if emits_update else None
        added = {key: value for key, value in (run | inside).items() if key in parameters}
        transformation = self.row.alias(**(given | added))
        if emits_update:
            return transformation
        return optax.chain(transformation, self.row.wrap_optimizer(base_optimizer, self.arguments))
