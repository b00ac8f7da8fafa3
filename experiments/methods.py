"""The one place that maps a method's name to its Optax transformation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

import optax_lookbehind as ol
from experiments.registry import look_up

Builder = Callable[[ConfigDict, int], optax.GradientTransformation]


class Method(NamedTuple):
    """A row of the table below.

    Attributes:
      title: the name as the papers write it.
      build: config and number of training steps to the transformation from gradient to update.
      ascent_gradients: how many gradients a sharpness-aware step takes besides the caller's.
      prepare: what the transformation calls params, given the model's weights.
      selects_examples: whether perturbed gradients are taken on the share ``config.gamma`` of the
        examples whose loss the perturbation raised most (ESAM).
    """

    title: str
    build: Builder
    ascent_gradients: Callable[[ConfigDict], int]
    prepare: Callable[[optax.Params], optax.Params] = lambda params: params
    selects_examples: bool = False


def _sgd(config: ConfigDict, steps: int, inner_steps: int = 1) -> optax.GradientTransformation:
    """SGD whose weight decay enters the momentum, as in PyTorch; cosine over ``steps``.

    It is called ``inner_steps`` times in a training step, and the learning rate stays the same
    within one.
    """
    cosine = optax.cosine_decay_schedule(config.learning_rate, steps)
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.sgd(lambda count: cosine(count // inner_steps), config.momentum),
    )


def before_sgd(gradient: Builder) -> Builder:
    """Puts SGD behind a transformation from gradient to sharpness-aware gradient."""
    return lambda config, steps: optax.chain(gradient(config, steps), _sgd(config, steps))


def _lookahead_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    if isinstance(config.alpha, str):
        raise ValueError(f"lookahead_sam needs a number as alpha, got {config.alpha!r}.")
    lookahead = optax.lookahead(_sgd(config, steps), config.k, config.alpha)
    return optax.chain(ol.sam(_rho(config, 0.05)), lookahead)


def _fast_and_slow(weights: optax.Params) -> optax.LookaheadParams:
    # Copies: a step donates its arguments, and no buffer can be given away twice.
    return optax.LookaheadParams(fast=weights, slow=jax.tree.map(jnp.copy, weights))


def _lookbehind_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return ol.lookbehind_sam(
        config.k,
        _rho(config, 0.05),
        config.alpha,
        fast_optimizer=_sgd(config, steps, inner_steps=config.k),
    )


def _lookbehind_asam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return ol.lookbehind_asam(
        config.k,
        _rho(config, 0.5),
        config.alpha,
        config.eta,
        fast_optimizer=_sgd(config, steps, inner_steps=config.k),
    )


def _ae_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return ol.ae_sam(_rho(config, 0.05), steps, *_thresholds(config, -1.0, 1.0))


def _ae_looksam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return ol.ae_looksam(_rho(config, 0.05), config.reuse, steps, *_thresholds(config, 0.0, 2.0))


def _ae_lookbehind_sam(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    return ol.ae_lookbehind_sam(
        config.k, _rho(config, 0.05), config.alpha, steps, *_thresholds(config, -1.0, 1.0)
    )


def _thresholds(config: ConfigDict, lambda_1: float, lambda_2: float) -> tuple[float, float, float]:
    """The adaptive policy's lambda_1, lambda_2 and decay."""
    return (
        lambda_1 if config.lambda_1 is None else config.lambda_1,
        lambda_2 if config.lambda_2 is None else config.lambda_2,
        config.decay,
    )


def _rho(config: ConfigDict, default: float) -> float:
    return default if config.rho is None else config.rho


METHODS: dict[str, Method] = {
    "sgd": Method("SGD", _sgd, lambda c: 0),
    "sam": Method("SAM", before_sgd(lambda c, _: ol.sam(_rho(c, 0.05))), lambda c: 1),
    "asam": Method("ASAM", before_sgd(lambda c, _: ol.asam(_rho(c, 0.5), c.eta)), lambda c: 1),
    "multistep_sam": Method(
        "Multistep-SAM",
        before_sgd(lambda c, _: ol.multistep_sam(c.k, _rho(c, 0.05))),
        lambda c: c.k,
    ),
    "multistep_asam": Method(
        "Multistep-ASAM",
        before_sgd(lambda c, _: ol.multistep_asam(c.k, _rho(c, 0.5), eta=c.eta)),
        lambda c: c.k,
    ),
    "lookahead_sam": Method("Lookahead-SAM", _lookahead_sam, lambda c: 1, _fast_and_slow),
    "lookbehind_sam": Method("Lookbehind-SAM", _lookbehind_sam, lambda c: c.k),
    "lookbehind_asam": Method("Lookbehind-ASAM", _lookbehind_asam, lambda c: c.k),
    "ae_sam": Method("AE-SAM", before_sgd(_ae_sam), lambda c: 1),
    "ae_looksam": Method("AE-LookSAM", before_sgd(_ae_looksam), lambda c: 1),
    "ae_lookbehind_sam": Method("AE-Lookbehind-SAM", before_sgd(_ae_lookbehind_sam), lambda c: c.k),
    "looksam": Method(
        "LookSAM",
        before_sgd(lambda c, _: ol.looksam(_rho(c, 0.05), c.reuse, c.period)),
        lambda c: 1,
    ),
    "ss_sam": Method(
        "SS-SAM",
        before_sgd(lambda c, _: ol.ss_sam(_rho(c, 0.05), c.probability, c.seed)),
        lambda c: 1,
    ),
    "esam": Method(
        "ESAM",
        before_sgd(lambda c, _: ol.esam(_rho(c, 0.05), c.beta, c.seed)),
        lambda c: 1,
        selects_examples=True,
    ),
}


def method(name: str) -> Method:
    """Returns the method of that name."""
    return look_up("method", name, METHODS)
