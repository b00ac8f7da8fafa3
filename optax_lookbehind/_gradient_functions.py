"""Gradient functions: from a loss, of ESAM and of functional SAM."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.checks import check_fraction
from optax_lookbehind._core.devices import per_device_params
from optax_lookbehind._core.types import AxisName, GradFn, ValueAndGrads


def value_and_grad(
    loss_fn: Callable[..., Any],
    has_aux: bool = False,
    axis_name: AxisName = None,
    minibatches: bool = False,
) -> Callable[..., tuple[Any, optax.Updates, GradFn]]:
    """``jax.value_and_grad`` that also returns the ``grad_fn`` of the same loss.

    Change this::

      loss, grads = jax.value_and_grad(loss_fn)(params, batch, key)
      updates, state = tx.update(grads, state, params)

    To::

      loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch, key)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    ``grad_fn(params, i)`` takes the gradient at other weights and everything else as it was: the
    same batch, dropout key, BatchNorm mode and loss scaling. It returns :class:`ValueAndGrads`, so
    that the losses at the perturbed weights are in the state of the method,
    ``optax.tree.get(state, "perturbed_losses")``, at no further cost.

    Args:
      loss_fn: ``(params, *args, **kwargs) -> loss``, a real scalar; or ``-> (loss, aux)``.
      has_aux: whether ``loss_fn`` returns auxiliary output, such as metrics and new BatchNorm
        statistics. The value is then the pair ``(loss, aux)`` of the clean pass; that of the
        perturbed passes is dropped.
      axis_name: the method's ``axis_name``: takes the gradient at :func:`per_device_params`, so
        that value and gradient are each device's own. None where one program sees the whole batch.
      minibatches: whether the positional arguments carry a leading axis of minibatches, one for
        each inner step, for ``switch_minibatch=True``: ``grad_fn`` takes minibatch ``i``, value and
        gradient are those of minibatch 0. Keyword arguments, and scalars such as a
        ``jax.random.key``, have no such axis: they are the same in every pass.

    Returns:
      A function ``(params, *args, **kwargs) -> (value, grads, grad_fn)``. ``params`` may be
      ``optax.LookaheadParams``, whose fast weights are differentiated.

    Raises:
      ValueError: with ``minibatches``, when called with arguments whose leading axes differ.
    """
    value_and_grad_fn = jax.value_and_grad(loss_fn, has_aux=has_aux)

    def value_and_grads_and_grad_fn(
        params: optax.Params, *args: Any, **kwargs: Any
    ) -> tuple[Any, optax.Updates, GradFn]:
        if minibatches:
            _check_minibatches(args)

        def at(p: optax.Params, i: Any) -> tuple[Any, optax.Updates]:
            return value_and_grad_fn(p, *(_minibatch(args, i) if minibatches else args), **kwargs)

        def grad_fn(p: optax.Params, i: jax.Array) -> ValueAndGrads:
            value, grads = at(p, i)
            return ValueAndGrads(value[0] if has_aux else value, grads)

        value, grads = at(per_device_params(fast_params(params), axis_name), 0)
        return value, grads, grad_fn

    return value_and_grads_and_grad_fn


def _minibatch(args: Any, i: Any) -> Any:
    """Minibatch ``i`` of the arguments; scalars as they are."""
    return jax.tree.map(lambda x: x[i] if jnp.ndim(x) else x, args)


def _check_minibatches(args: Any) -> None:
    """Raises unless all arrays, scalars aside, have the same number of minibatches."""
    arrays = [
        (jax.tree_util.keystr(path), x.shape)
        for path, x in jax.tree_util.tree_leaves_with_path(args)
        if jnp.ndim(x)
    ]
    if len({shape[0] for _, shape in arrays}) != 1:
        shapes = ", ".join(f"args{path}: {shape}" for path, shape in arrays) or "no arrays"
        raise ValueError(
            "minibatches=True needs positional arguments with a leading axis of minibatches, the "
            f"same number in all of them; got {shapes}. Pass what is the same for all minibatches "
            "as a keyword argument."
        )


def sharpest_examples_grad_fn(
    per_example_loss_fn: Callable[[optax.Params], jax.Array],
    params: optax.Params,
    gamma: float = 0.5,
) -> GradFn:
    """Builds a ``grad_fn`` for the examples whose loss the perturbation raised most.

    ESAM's sharpness-sensitive data selection. Change this::

      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    To::

      grad_fn = sharpest_examples_grad_fn(lambda p: losses(p, x, y), params)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    where ``grads`` stays the gradient of the mean loss over the whole minibatch, while ``grad_fn``
    returns that of the mean loss over the selected examples. Shapes are static and models with
    BatchNorm need the whole minibatch, so all examples pass through the network and the others
    have weight zero: the gradient is ESAM's, but its saving in the backward pass is lost.
    Cost: one forward pass at ``params``, which the compiler shares with the caller's.

    Args:
      per_example_loss_fn: ``params -> losses`` of the minibatch, shape ``(examples,)``.
      params: the weights before the perturbation, as passed to ``update``.
      gamma: the fraction of the examples to select, in (0, 1]; at least one is selected.

    Returns:
      ``grad_fn(params, i) -> grads`` for ``update``; it ignores ``i``.

    Raises:
      ValueError: if ``gamma`` is outside (0, 1] or the losses are not one number per example.

    References:
      Du et al., `ESAM <https://arxiv.org/abs/2110.03141>`_, ICLR 2022
      (sharpness-sensitive data selection).
    """
    check_fraction("gamma", gamma, zero=False)
    clean = per_example_loss_fn(fast_params(params))
    if jnp.ndim(clean) != 1:
        raise ValueError(
            "per_example_loss_fn must return one loss per example, shape (examples,), got shape "
            f"{jnp.shape(clean)}."
        )
    selected = max(1, round(gamma * clean.size))

    def grad_fn(perturbed: optax.Params, i: jax.Array) -> optax.Updates:
        del i
        losses, vjp_fn = jax.vjp(per_example_loss_fn, perturbed)
        _, sharpest = jax.lax.top_k(losses - clean, selected)
        weights = jnp.zeros_like(losses).at[sharpest].set(1 / selected)
        return vjp_fn(weights)[0]

    return grad_fn


def functional_grad_fn(
    outputs_fn: Callable[[optax.Params], Any],
    loss_of_outputs: Callable[[Any], jax.Array],
    params: optax.Params,
) -> GradFn:
    r"""Builds the ``grad_fn`` of functional SAM: the network is perturbed, the loss is not.

    .. math:: J(w + e)^T d, \qquad d = \frac{\partial L}{\partial \mathrm{outputs}} (w)

    with J the Jacobian of the outputs. SAM's gradient changes through both factors; this keeps d.
    Change this::

      loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    To::

      outputs_fn = lambda params: model.apply(params, batch["image"])
      loss_of_outputs = lambda logits: cross_entropy(logits, batch["label"]).mean()

      loss_fn = lambda params: loss_of_outputs(outputs_fn(params))
      loss, grads = jax.value_and_grad(loss_fn)(params)
      grad_fn = functional_grad_fn(outputs_fn, loss_of_outputs, params)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    It works with ``sam``, ``asam``, policies and any perturbation rule, and is cheaper than SAM's
    second gradient: the compiler shares the outputs at ``params`` with the caller's pass, and
    needs none at the perturbed weights. Where the outputs are linear in the weights it is the plain
    gradient, and on examples without loss it is zero.

    * With ``k > 1`` and Lookbehind the later ascents follow this gradient, too; no paper defines
      that.
    * Dropout needs one key for both passes, or d belongs to another mask.
    * A term of the loss that does not go through the outputs, such as a penalty on the weights, is
      missing from the perturbed gradient: put the decay behind the method.
    * Inner steps on other minibatches need the d of each; write their ``grad_fn`` yourself. So do
      microbatches.
    * d is as large as the outputs (2,048 tokens of 50,000 logits in float32: 410 MB), and has their
      dtype: return them in float32.

    Args:
      outputs_fn: ``params -> outputs`` of the minibatch: logits, or a pytree of several heads.
      loss_of_outputs: ``outputs -> loss``, a real scalar.
      params: the weights before the perturbation, as passed to ``update``. Under
        ``jax.shard_map``, too, the weights themselves.

    Returns:
      ``grad_fn(params, i) -> grads`` for ``update``; it ignores ``i``.

    References:
      Singh et al., `Avoiding spurious sharpness minimization broadens applicability of SAM
      <https://arxiv.org/abs/2502.02407>`_, ICML 2025 (functional SAM); Baek et al., `Why is SAM
      Robust to Label Noise? <https://arxiv.org/abs/2405.03676>`_, ICLR 2024 (J-SAM).
    """
    d = jax.grad(loss_of_outputs)(outputs_fn(fast_params(params)))

    def grad_fn(perturbed: optax.Params, i: jax.Array) -> optax.Updates:
        del i
        return jax.vjp(outputs_fn, perturbed)[1](d)[0]

    return grad_fn
