"""The length of AE-Lookbehind's plain steps: two variants, compared on digits.

Lookbehind emits the sum of k gradients times alpha. On the plain steps one may emit the gradient as
it is, or k * alpha times it. The table has the accuracy on a fifth of the training set held out
(clean labels, last epoch) and, for sharpness-aware ("sharp") and plain steps, the ratio of the
norms of the emitted update and of the plain gradient::

    python -m experiments.ablations.ae_lookbehind_scale
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

import optax_lookbehind as ol
from experiments.configs import digits
from experiments.configs.base import with_changes
from experiments.methods.method import Method
from experiments.methods.table import METHODS
from experiments.training.seeds import train_seeds

SEEDS, LEARNING_RATES = 5, (0.0075, 0.015, 0.03)
K, RHO, ALPHA = 2, 0.1, "adaptive"

# By the name of a row for the table of methods: the title, and the transformation of a run.
VARIANTS: Mapping[str, tuple[str, Callable[[int], optax.GradientTransformationExtraArgs]]] = {
    "every_step": (
        "Lookbehind on every step",
        lambda total_steps: ol.periodic_policy(ol.lookbehind_sam(K, RHO, ALPHA), period=1),
    ),
    "scaled": (
        "AE, plain steps emit k alpha g",
        lambda total_steps: ol.ae_lookbehind_sam(K, RHO, ALPHA, total_steps),
    ),
    "unscaled": (
        "AE, plain steps emit g",
        lambda total_steps: ol.adaptive_policy(
            without_scale(ol.lookbehind_sam(K, RHO, ALPHA)), total_steps
        ),
    ),
}


def without_scale(inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformation:
    """The method, emitting the gradient unscaled on a policy's plain steps."""

    def update(
        updates: Any, state: Any, params: Any, *, sharpness_aware: bool = True, **extra: Any
    ) -> tuple[Any, Any]:
        if not sharpness_aware:
            return updates, state
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


class Lengths(NamedTuple):
    """Sums of |emitted| / |gradient| over plain and sharp steps, and the wrapped state."""

    plain: jax.Array
    sharp: jax.Array
    inner: Any


def with_lengths(policy: optax.GradientTransformationExtraArgs) -> optax.GradientTransformation:
    """The policy, with the norms of its output in its state."""

    def update(updates: Any, state: Lengths, params: Any, **extra: Any) -> tuple[Any, Lengths]:
        emitted, inner = policy.update(updates, state.inner, params, **extra)
        ratio = optax.tree.norm(emitted) / optax.tree.norm(updates)
        sharp = inner.applied - state.inner.applied
        return emitted, Lengths(
            state.plain + (1 - sharp) * ratio, state.sharp + sharp * ratio, inner
        )

    init = lambda params: Lengths(jnp.zeros(()), jnp.zeros(()), policy.init(params))  # noqa: E731
    return optax.GradientTransformationExtraArgs(init, update)


def measure(config: ConfigDict) -> list[float]:
    """Accuracy mean and deviation, %SAM, mean lengths of sharp and plain steps."""
    accuracies, sums = [], []
    for state, history in train_seeds(config, range(SEEDS)):
        accuracies.append(100 * history[-1]["val_accuracy"])
        lengths = state.opt_state[0]
        sums.append([lengths.sharp, lengths.plain, lengths.inner.applied, lengths.inner.step])
    sharp, plain, applied, count = np.sum(sums, axis=0)
    lengths = [sharp / applied, plain / (count - applied) if count > applied else np.nan]
    return [np.mean(accuracies), np.std(accuracies, ddof=1), 100 * applied / count, *lengths]


def main() -> None:
    """Prints the table."""
    print("| variant | learning rate | accuracy, % | %SAM | length, sharp | length, plain |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (title, build) in VARIANTS.items():
        recorded = lambda total_steps, build=build: with_lengths(build(total_steps))  # noqa: E731
        METHODS[name] = Method(title, recorded, defaults={}, ascent_steps=K)
        for rate in LEARNING_RATES:
            changes = {"method": name, "validation": 0.2, "learning_rate": rate}
            mean, std, sam, sharp, plain = measure(with_changes(digits.get_config(), changes))
            cells = f"{mean:.2f} ± {std:.2f} | {sam:.0f} | {sharp:.2f} | {plain:.2f}"
            tqdm.write(f"| {title} | {rate} | {cells} |")


if __name__ == "__main__":
    main()
