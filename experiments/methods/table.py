"""The one place that maps a method's name to its Optax transformation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

import optax_lookbehind as ol
from experiments.configs.lookup import look_up
from experiments.methods.optimizers import optimizer
from experiments.parallel.microbatches import averaging

_RHO = {"sam": 0.05, "asam": 0.5}  # where the config has none: the papers'

Builder = Callable[[ConfigDict, int], optax.GradientTransformation]

_DRAWS = 1 << 30  # sets the key of these draws apart from those of program.keys


class Method(NamedTuple):
    """A row of the table below.

    Attributes:
      title: the name as the papers write it.
      build: config and number of training steps to the transformation from gradient to update.
      ascent_gradients: how many gradients a sharpness-aware step takes besides the caller's.
      prepare: what the transformation calls params, given the model's weights.
      optimizer_calls: how often a step calls the optimizer.
      ball: what it ascends in, a key of ``_RHO``.
      selects_examples: whether perturbed gradients are taken on the share ``config.gamma`` of the
        examples whose loss the perturbation raised most (ESAM).
    """

    title: str
    build: Builder
    ascent_gradients: Callable[[ConfigDict], int]
    prepare: Callable[[optax.Params], optax.Params] = lambda params: params
    optimizer_calls: Callable[[ConfigDict], int] = lambda config: 1
    ball: str = "sam"
    selects_examples: bool = False


def before_sgd(gradient: Builder) -> Builder:
    """Puts the optimizer behind a transformation from gradient to sharpness-aware gradient."""
    return lambda config, steps: optax.chain(gradient(config, steps), optimizer(config, steps))


def _sgd(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return optax.chain(_averaged_gradient(averaging(config)), optimizer(config, steps))


def _averaged_gradient(over: dict[str, Any]) -> optax.GradientTransformation:
    """The gradient itself, or its mean where each part of the batch comes with its own."""
    if not over:
        return optax.identity()
    return optax.stateless(lambda grads, params: jax.lax.pmean(grads, over["axis_name"]))


def _lookahead_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    if isinstance(config.alpha, str) or not 0 < config.alpha <= 1:
        raise ValueError(f"lookahead_sam needs a number in (0, 1] as alpha, got {config.alpha!r}.")
    lookahead = optax.lookahead(optimizer(config, steps), config.k, config.alpha)
    return optax.chain(_sam(config, steps), lookahead)


def _fast_and_slow(weights: optax.Params) -> optax.LookaheadParams:
    # Copies: a step donates its arguments, and no buffer can be given away twice.
    return optax.LookaheadParams(fast=weights, slow=jax.tree.map(jnp.copy, weights))


def _sam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.sam(rho_of(config), **averaging(config))


def _asam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.asam(rho_of(config, "asam"), config.eta, **averaging(config))


def _multistep_sam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.multistep_sam(config.k, rho_of(config, k=config.k), **averaging(config))


def _multistep_asam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    rho = rho_of(config, "asam", config.k)
    return ol.multistep_asam(config.k, rho, eta=config.eta, **averaging(config))


def _lookbehind(
    config: ConfigDict, steps: int, perturbation: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Lookbehind around the optimizer, as the authors' code has it, or in front of it."""
    over = averaging(config)
    if config.fast_optimizer:
        inside = optimizer(config, steps, inner_steps=_calls_inside(config))
        return ol.lookbehind(perturbation, config.k, config.alpha, fast_optimizer=inside, **over)
    gradient = ol.lookbehind(perturbation, config.k, config.alpha, **over)
    return optax.chain(gradient, optimizer(config, steps))


def _calls_inside(config: ConfigDict) -> int:
    return config.k if config.fast_optimizer else 1


def _lookbehind_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return _lookbehind(config, steps, ol.sam_perturbation(rho_of(config, k=config.k)))


def _lookbehind_asam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return _lookbehind(
        config, steps, ol.asam_perturbation(rho_of(config, "asam", config.k), config.eta)
    )


def _ae_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    lambdas = _thresholds(config, -1.0, 1.0)
    return ol.ae_sam(rho_of(config), steps, *lambdas, **averaging(config))


def _ae_looksam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    lambdas = _thresholds(config, 0.0, 2.0)
    return ol.ae_looksam(rho_of(config), config.reuse, steps, *lambdas, **averaging(config))


def _ae_lookbehind_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    rho, lambdas = rho_of(config, k=config.k), _thresholds(config, -1.0, 1.0)
    return ol.ae_lookbehind_sam(config.k, rho, config.alpha, steps, *lambdas, **averaging(config))


def _looksam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.looksam(rho_of(config), config.reuse, config.period, **averaging(config))


def _ss_sam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.ss_sam(rho_of(config), config.probability, _key(config), **averaging(config))


def _esam(config: ConfigDict, _: int) -> optax.GradientTransformation:
    return ol.esam(rho_of(config), config.beta, _key(config), **averaging(config))


def _key(config: ConfigDict) -> jax.Array:
    """What a method's own draws begin with."""
    return jax.random.fold_in(jax.random.key(config.seed), _DRAWS)


def _thresholds(config: ConfigDict, lambda_1: float, lambda_2: float) -> tuple[float, float, float]:
    """The adaptive policy's lambda_1, lambda_2 and decay."""
    return (
        lambda_1 if config.lambda_1 is None else config.lambda_1,
        lambda_2 if config.lambda_2 is None else config.lambda_2,
        config.decay,
    )


def rho_of(config: ConfigDict, ball: str = "sam", k: int = 1) -> float:
    """The length of each of k ascent steps: rho, or rho / k, so that all together are rho."""
    rho = _RHO[ball] if config.rho is None else config.rho
    return rho / (k if config.rho_over_k else 1)


METHODS: dict[str, Method] = {
    "sgd": Method("SGD", _sgd, lambda c: 0),
    "sam": Method("SAM", before_sgd(_sam), lambda c: 1),
    "asam": Method("ASAM", before_sgd(_asam), lambda c: 1, ball="asam"),
    "multistep_sam": Method("Multistep-SAM", before_sgd(_multistep_sam), lambda c: c.k),
    "multistep_asam": Method(
        "Multistep-ASAM", before_sgd(_multistep_asam), lambda c: c.k, ball="asam"
    ),
    "lookahead_sam": Method("Lookahead-SAM", _lookahead_sam, lambda c: 1, _fast_and_slow),
    "lookbehind_sam": Method(
        "Lookbehind-SAM", _lookbehind_sam, lambda c: c.k, optimizer_calls=_calls_inside
    ),
    "lookbehind_asam": Method(
        "Lookbehind-ASAM",
        _lookbehind_asam,
        lambda c: c.k,
        optimizer_calls=_calls_inside,
        ball="asam",
    ),
    "ae_sam": Method("AE-SAM", before_sgd(_ae_sam), lambda c: 1),
    "ae_looksam": Method("AE-LookSAM", before_sgd(_ae_looksam), lambda c: 1),
    "ae_lookbehind_sam": Method("AE-Lookbehind-SAM", before_sgd(_ae_lookbehind_sam), lambda c: c.k),
    "looksam": Method("LookSAM", before_sgd(_looksam), lambda c: 1),
    "ss_sam": Method("SS-SAM", before_sgd(_ss_sam), lambda c: 1),
    "esam": Method("ESAM", before_sgd(_esam), lambda c: 1, selects_examples=True),
}


def method(name: str) -> Method:
    """Returns the method of that name."""
    return look_up("method", name, METHODS)
