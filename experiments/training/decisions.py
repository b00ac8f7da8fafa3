"""What a method decided in a step, as the optimizer's states around that step tell."""

import jax
import jax.numpy as jnp
import optax


def of_step(before: optax.OptState, after: optax.OptState) -> dict[str, jax.Array]:
    """Reads scalars that the states hold anyway: no pass over weights or gradients.

    The states are looked up by type, not the fields by name: Adam has a ``mu`` too.

    Args:
      before: the optimizer's state before the step.
      after: the state that the step left.

    Returns:
      Of a policy ``applied``, 1 if the step was sharpness-aware and else 0; of the adaptive one
      also ``mu``, ``sigma`` and ``threshold``; of Lookbehind ``alpha``, the mean over the weights
      where each has its own. Nothing of other methods.
    """
    found = {}
    if (policy := optax.tree.get(after, "PolicyState")) is not None:
        found["applied"] = policy.applied - optax.tree.get(before, "PolicyState").applied
    if (adaptive := optax.tree.get(after, "AdaptiveState")) is not None:
        sigma = jnp.sqrt(adaptive.var)
        found |= {"mu": adaptive.mu, "sigma": sigma, "threshold": adaptive.threshold}
    if (lookbehind := optax.tree.get(after, "LookbehindState")) is not None:
        found["alpha"] = jnp.stack(jax.tree.leaves(lookbehind.alpha)).mean()
    return found
