"""A row of the table of methods, and a row with a value for each of its arguments."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax

from experiments.methods import spec
from experiments.methods.optimizers import OPTIMIZERS, BaseOptimizer

Arguments = Mapping[str, Any]

_METHOD_KEY = 1 << 30  # fold_in constant that separates a method's key from those of the run


class Context(NamedTuple):
    """What a run provides for building the transformation of its method.

    Attributes:
      optimizer: the base optimizer, to chain behind the method or to hand to it.
      learning_rate: its learning rate by training step.
      total_steps: number of training steps.
      key: PRNG key of the method's draws.
      axis: ``axis_name`` and ``sync_perturbation`` for the library; empty without m-SAM.
    """

    optimizer: optax.GradientTransformation
    learning_rate: optax.ScalarOrSchedule
    total_steps: int
    key: jax.Array | int
    axis: Mapping[str, Any]

    def chain(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """A transformation that emits a gradient, in front of the base optimizer."""
        return optax.chain(tx, self.optimizer)


Build = Callable[[Arguments, Context], optax.GradientTransformation]


class Step(NamedTuple):
    """What a training step of a method consists of.

    Attributes:
      ascent_steps: number of ascent steps of a sharpness-aware step.
      sharp_fraction: expected fraction of the steps that are sharpness-aware.
      minibatches: number of minibatches that a step takes.
      optimizer_calls: number of calls of the base optimizer.
      length: about how many times as long as a step of SGD it is at the same learning rate.
    """

    ascent_steps: int = 1
    sharp_fraction: float = 1.0
    minibatches: int = 1
    optimizer_calls: int = 1
    length: float = 1.0


class Method(NamedTuple):
    """A row of the table.

    Attributes:
      title: the name as the papers write it; ``{optimizer}`` stands for the base optimizer's.
      build: ``(arguments, context) -> transformation`` from gradient to update.
      defaults: the arguments that a string may give, with their defaults.
      step: ``arguments -> Step``; by default one ascent step in each training step.
      perturbation: the perturbation rule of the ascent steps.
      wrap_params: ``weights -> params`` of the transformation, e.g. ``optax.LookaheadParams``.
      example_fraction: ``arguments -> fraction`` of the examples, those whose loss the perturbation
        raised most, that perturbed gradients are taken on; None for all.
      trains_perturbed_weights: whether the params are perturbed weights, so that the weights to
        evaluate also depend on the optimizer's state (``training.state.weights_of``).
    """

    title: str
    build: Build
    defaults: spec.Signature
    step: Callable[[Arguments], Step] = lambda arguments: Step()
    perturbation: Literal["sam", "asam"] = "sam"
    wrap_params: Callable[[optax.Params], optax.Params] = lambda weights: weights
    example_fraction: Callable[[Arguments], float] | None = None
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
        arguments = spec.write("", spec.non_default(self.arguments, self.row.defaults))[1:]
        title = self.title(optimizer)
        return f"{title} ({arguments.replace(',', ', ')})" if arguments else title

    @property
    def ascent_steps(self) -> int:
        """Number of ascent steps of a sharpness-aware step."""
        return self.row.step(self.arguments).ascent_steps

    @property
    def sharp_fraction(self) -> float:
        """Expected fraction of the training steps that are sharpness-aware."""
        return self.row.step(self.arguments).sharp_fraction

    @property
    def minibatches(self) -> int:
        """Number of minibatches of a training step."""
        return self.row.step(self.arguments).minibatches

    @property
    def optimizer_calls(self) -> int:
        """Number of calls of the base optimizer in a training step."""
        return self.row.step(self.arguments).optimizer_calls

    def setting(self, optimizer: str, learning_rate: float) -> str:
        """All arguments, the learning rate, and how long a step is where that differs."""
        text = f"{spec.write(self.name, self.arguments)}, {optimizer} at rate {learning_rate:g}"
        length = self.step_length(optimizer)
        if length == 1:
            return text
        return (
            f"{text}: steps about {length:g} times as long as the optimizer's alone; compare with "
            f"it at {length:g} times this rate"
        )

    def step_length(self, optimizer: str) -> float:
        """About how many times as long as the optimizer's alone a step is, at its rate."""
        scales = optimizer == "sgd" or self.optimizer_calls > 1  # Adam's steps do not, behind it
        return self.row.step(self.arguments).length if scales else 1.0

    @property
    def extra_gradients(self) -> int:
        """Gradients of a sharpness-aware step in addition to the caller's."""
        if self.minibatches > 1:  # two of each minibatch; the caller takes the very first
            return 2 * self.minibatches - 1
        return self.ascent_steps

    def gradients_per_step(
        self, applied: float | None = None, *, clean: float = 1.0, perturbed: float = 1.0
    ) -> float:
        """Mean number of gradients of a training step, each of one minibatch.

        Args:
          applied: fraction of the steps that were sharpness-aware; default None: the expected one.
          clean: cost of a gradient at the weights of the step.
          perturbed: cost of a gradient at perturbed weights.
        """
        fraction = self.sharp_fraction if applied is None else applied
        return clean + fraction * self.extra_gradients * perturbed

    @property
    def example_fraction(self) -> float | None:
        """Fraction of the examples that perturbed gradients are taken on; None for all."""
        return self.row.example_fraction and self.row.example_fraction(self.arguments)

    @property
    def rho(self) -> float | None:
        """Length of each ascent step; None without ascent."""
        return ascent_length(self.arguments) if "rho" in self.arguments else None

    def build(
        self, base: BaseOptimizer, total_steps: int, *, seed: int = 0, axis_name: str | None = None
    ) -> optax.GradientTransformation:
        """The transformation from gradient to update.

        Args:
          base: the base optimizer.
          total_steps: number of training steps of the run.
          seed: determines the method's draws.
          axis_name: mapped axis whose parts of a batch perturb independently (m-SAM), if any.
        """
        # Between minibatches of a step the learning rate changes, between calls on one it does not.
        calls = 1 if self.minibatches > 1 else self.optimizer_calls
        minibatches = total_steps * self.optimizer_calls // calls
        context = Context(
            base.build(minibatches, calls),
            base.learning_rate(total_steps),
            total_steps,
            jax.random.fold_in(jax.random.key(seed), _METHOD_KEY),
            {"axis_name": axis_name, "sync_perturbation": False} if axis_name else {},
        )
        return self.row.build(self.arguments, context)

    def check(self) -> None:
        """Raises ValueError, with the method's arguments and defaults, if a value is invalid."""
        context = Context(optax.identity(), learning_rate=1.0, total_steps=1, key=0, axis={})
        try:
            if self.example_fraction is not None and not 0 < self.example_fraction <= 1:
                raise ValueError(f"gamma must be in (0, 1], got {self.arguments['gamma']!r}.")
            self.row.build(self.arguments, context)
        except ValueError as error:
            raise ValueError(f"{error} {spec.describe(self.name, self.row.defaults)}") from error


def ascent_length(arguments: Arguments) -> float:
    """Length of each ascent step: rho, or rho / k with ``rho_over_k``."""
    return arguments["rho"] / (max(arguments["k"], 1) if arguments.get("rho_over_k") else 1)
