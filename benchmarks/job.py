"""The benchmarked training job: a stock Flax model, one batch, a jitted step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree

from benchmarks.setups import CLASSES, IMAGE, Setup

Batch = tuple[jax.Array, jax.Array]


class Job(NamedTuple):
    """A model, its initial state and one batch.

    Attributes:
      graphdef: static structure of the model.
      params: float32 weights.
      rest: other arrays of the model: running statistics of BatchNorm.
      batch: random images and labels; or tokens, and the next ones.
      unravel: the weights of the model from ``params``, if those are one flat array.
    """

    graphdef: nnx.GraphDef
    params: Any
    rest: nnx.State
    batch: Batch
    unravel: Callable[[jax.Array], Any] | None = None

    def loss(self, params: Any, rest: nnx.State, batch: Batch) -> tuple[jax.Array, nnx.State]:
        """The training loss, and the updated statistics of BatchNorm."""
        images, labels = batch
        if self.unravel is not None:
            params = self.unravel(params)
        # Copied, or the new statistics would be written into ``rest``.
        model = nnx.merge(self.graphdef, params, rest, copy=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(model(images), labels)
        return losses.mean(), nnx.state(model, nnx.Not(nnx.Param))


class State(NamedTuple):
    """The training state: weights, statistics, optimizer state."""

    params: Any
    rest: nnx.State
    opt_state: optax.OptState


Step = Callable[[State, Batch], State]


def make_job(model: nnx.Module, setup: Setup) -> Job:
    """Makes a job with random images."""
    model.train()
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    params, rest = states
    images_key, labels_key = jax.random.split(jax.random.key(1))
    images = jax.random.normal(images_key, (setup.batch, *IMAGE))
    labels = jax.random.randint(labels_key, (setup.batch,), 0, CLASSES)
    return Job(graphdef, params, rest, (images, labels))


def flat(job: Job) -> Job:
    """The same job with all weights in one array: gradients, sums and norms are single kernels."""
    params, unravel = ravel_pytree(job.params)
    return job._replace(params=params, unravel=unravel)


def initial_state(job: Job, tx: optax.GradientTransformation) -> State:
    """The initial state, copied so that steps can donate it."""
    params, rest = jax.tree.map(jnp.copy, (job.params, job.rest))
    return State(params, rest, tx.init(params))


def lower_gradient(job: Job) -> jax.stages.Lowered:
    """Lowers one gradient of the loss, the unit of the costs of steps."""
    gradient = jax.jit(jax.grad(job.loss, has_aux=True))
    return gradient.lower(job.params, job.rest, job.batch)


def training_step(
    job: Job, tx: optax.GradientTransformationExtraArgs, axis_name: str | None = None
) -> Step:
    """A whole training step; with ``axis_name``, that of one device under ``jax.shard_map``."""

    def step(state: State, batch: Batch) -> State:
        def grad_fn(params: Any, i: jax.Array) -> Any:
            del i  # every inner step stays on this batch
            return jax.grad(job.loss, has_aux=True)(params, state.rest, batch)[0]

        local_params = state.params
        if axis_name is not None:  # the method averages the gradients of the devices itself
            local_params = jax.tree.map(
                lambda w: jax.lax.pcast(w, axis_name, to="varying"), local_params
            )
        grads, rest = jax.grad(job.loss, has_aux=True)(local_params, state.rest, batch)
        updates, opt_state = tx.update(grads, state.opt_state, state.params, grad_fn=grad_fn)
        return State(optax.apply_updates(state.params, updates), rest, opt_state)

    return step


def lower_step(job: Job, tx: optax.GradientTransformationExtraArgs) -> jax.stages.Lowered:
    """Lowers the training step with a donated state."""
    step = jax.jit(training_step(job, tx), donate_argnums=0)
    return step.lower(initial_state(job, tx), job.batch)


def run_gradient(job: Job) -> Callable[[int], None]:
    """A function ``(calls) -> None`` that computes gradients and waits for them."""
    gradient = lower_gradient(job).compile()

    def run(calls: int) -> None:
        for _ in range(calls):
            grads = gradient(job.params, job.rest, job.batch)
        jax.block_until_ready(grads)

    return run


def run_steps(job: Job, tx: optax.GradientTransformationExtraArgs) -> Callable[[int], None]:
    """A function ``(calls) -> None`` that takes training steps and waits for them."""
    return advance(lower_step(job, tx).compile(), initial_state(job, tx), job.batch)


def advance(step: Step, state: State, batch: Batch) -> Callable[[int], None]:
    """A function ``(calls) -> None`` that calls ``step`` on its last state, and waits."""

    def run(calls: int) -> None:
        nonlocal state
        for _ in range(calls):
            state = step(state, batch)
        jax.block_until_ready(state)

    return run
