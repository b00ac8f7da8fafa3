"""Cost of runs: numbers of gradients, and the seconds that one takes on this machine."""

import json
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from scipy.stats import norm

from experiments import models
from experiments.campaign.runs import Run
from experiments.continual.learners import learner
from experiments.methods.method import BoundMethod
from experiments.methods.table import method
from experiments.tasks.classification import cross_entropy
from experiments.training.method_switch import methods_by_epoch
from experiments.training.run_dir import write_lines

# Training examples, shape of an image and classes, known without opening the data.
DATASETS: Mapping[str, tuple[int, tuple[int, int, int], int]] = {
    "digits": (1437, (8, 8, 1), 10),
    "cifar10": (50_000, (32, 32, 3), 10),
    "cifar100": (50_000, (32, 32, 3), 100),
    "imagenet2012": (1_281_167, (224, 224, 3), 1000),
    "tiny_imagenet": (100_000, (64, 64, 3), 200),
}
_TIMED_PIXELS = 8 * 32 * 32  # of a timed batch on a CPU; larger batches are extrapolated from it
_TIMINGS = 3
_UNKNOWN_STEPS = 500  # of an epoch of text in batches by length: only the progress depends on it


def gradients(config: ConfigDict) -> float:
    """Expected number of minibatch gradients of a run, the clean ones included."""
    if "learner" in config:
        return _continual_gradients(config)
    steps = steps_per_epoch(config)
    epochs = Counter(methods_by_epoch(config))
    return sum(n * steps * _expected_gradients(name) for name, n in epochs.items())


@cache  # the same few methods are looked up thousands of times
def _expected_gradients(name: str) -> float:
    return gradients_per_step(method(name))


def _continual_gradients(config: ConfigDict) -> float:
    """The same for a continual run; differentiation through inner steps is not counted."""
    available, _, classes = DATASETS[config.dataset]
    examples = config.train_examples or round(available * (1 - config.validation))
    steps = examples // classes * config.classes_per_task // config.batch_size * config.glances
    bound_learner = learner(config.learner)
    bound = method(bound_learner.method(config.method))
    replay = min(config.replay, config.memory)
    plain, perturbed = bound_learner.gradients(config.batch_size, replay)
    extra = expected_applied(bound) * bound.extra_gradients
    return config.epochs * steps * (plain + extra * perturbed)


def steps_per_epoch(config: ConfigDict) -> int:
    """Number of training steps of an epoch."""
    if config.dataset not in DATASETS:
        return _UNKNOWN_STEPS
    available, _, _ = DATASETS[config.dataset]
    examples = config.train_examples or round(available * (1 - config.validation))
    return examples // config.batch_size


def gradients_per_step(bound: BoundMethod, applied: float | None = None) -> float:
    """Mean number of gradients of a step, with the fraction of sharpness-aware steps if known."""
    fraction = expected_applied(bound) if applied is None else applied
    return bound.minibatches + (1 + bound.extra_gradients - bound.minibatches) * fraction


def expected_applied(bound: BoundMethod) -> float:
    """Expected fraction of sharpness-aware steps.

    For the adaptive policy: the mean of P(Z >= c) over its thresholds c from lambda_2 to lambda_1,
    Z standard normal.
    """
    arguments = bound.arguments
    if "lambda_1" in arguments:
        return float(norm.sf(np.linspace(arguments["lambda_2"], arguments["lambda_1"])).mean())
    if "period" in arguments:
        return 1 / arguments["period"]
    if "probability" in arguments:
        return arguments["probability"]
    return 1.0 if bound.ascent_steps else 0.0


def hours(runs: Sequence[Run], file: Path) -> float | None:
    """Hours that the runs take one after the other here, from a measured gradient.

    Args:
      runs: the runs.
      file: JSON file of measured gradients, which are measured once for each machine.

    Returns:
      None if a run does not classify images of a known size: its gradient cannot be measured.
    """
    if any(run.config.dataset not in DATASETS for run in runs):
        return None
    seconds = sum(gradients(run.config) * gradient_seconds(run.config, file) for run in runs)
    return seconds / 3600


def gradient_seconds(config: ConfigDict, file: Path) -> float:
    """Seconds of one gradient of the base optimizer, without input pipeline and update."""
    device = jax.devices()[0]
    key = " ".join(
        map(
            str,
            (
                platform.node(),
                device.device_kind,
                config.dataset,
                config.model,
                config.dtype,
                config.batch_size,
            ),
        )
    )
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if key not in known:
        known[key] = _measure(config)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_lines(file, [known])
    return known[key]


def _measure(config: ConfigDict) -> float:
    """The median of some gradients. On a CPU large batches are extrapolated from small ones."""
    _, shape, classes = DATASETS[config.dataset]
    batch = config.batch_size
    if jax.default_backend() == "cpu":
        batch = max(1, min(batch, _TIMED_PIXELS // (shape[0] * shape[1])))
    *_, size, channels = shape
    model = models.build(
        config.model, classes, channels, image_size=size, dtype=config.dtype, rngs=nnx.Rngs(0)
    )
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    params, rest = states
    images, labels = jnp.ones((batch, *shape)), jnp.zeros(batch, jnp.int32)

    @jax.jit
    def gradient(params: nnx.State) -> nnx.State:
        def loss(params: nnx.State) -> jax.Array:
            model = nnx.merge(graphdef, params, rest, copy=True)
            model.train()
            return cross_entropy(model(images), labels).mean()

        return jax.grad(loss)(params)

    jax.block_until_ready(gradient(params))
    seconds = []
    for _ in range(_TIMINGS):
        started = time.perf_counter()
        jax.block_until_ready(gradient(params))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * config.batch_size / batch
