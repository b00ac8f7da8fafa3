"""Convolutions that keep their speed inside loops on the CPU.

XLA has fast CPU convolutions for one layout only: batch, spatial..., feature for images and
spatial..., in, out for kernels. A compiler pass brings other layouts into this form, but only in
the entry computation, not in the bodies of ``scan``, ``while`` and ``cond``
(https://github.com/jax-ml/jax/issues/12868). The gradient with respect to a kernel is a
convolution in another layout, whatever the model's own layout is, so training inside a loop falls
back to a naive implementation that is tens of times slower. The sharpness-aware methods take their
gradients in a loop; hence this file does the compiler pass's work on the gradient's jaxpr.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend import core
from jax.extend.core import primitives

# Primitives that run the jaxprs in their parameters as they are. A convolution inside any other
# higher-order primitive (a Pallas kernel, say) stays untouched.
_CALLS_AND_LOOPS = frozenset(
    {
        primitives.closed_call_p,
        primitives.cond_p,
        primitives.custom_jvp_call_p,
        primitives.custom_vjp_call_p,
        primitives.jit_p,
        primitives.remat_p,
        primitives.scan_p,
        primitives.while_p,
    }
)

GradFn = Callable[[Any, Any], Any]


def fast_in_loops(grad_fn: GradFn) -> GradFn:
    """Makes a gradient function's convolutions fast in ``scan``, ``while``, ``cond`` on the CPU.

    Every convolution of ``grad_fn``, those inside its own calls, loops and branches included,
    becomes transpose -> convolution in the layout that XLA:CPU is fast for -> transpose. A grouped
    convolution's kernel gradient also trades its batch groups for feature groups. Nothing else
    changes, and the gradients are equal up to rounding (to the last bit, where XLA fuses the rest
    of the program alike). The layout is chosen when the program is lowered: on accelerators the
    user's convolutions stay as written.

    Use it on a gradient function that is about to be called in a loop body, anywhere: under
    ``jit``, ``vmap``, ``shard_map``, ``pmap``, ``grad``, with ``grad_fn`` closing over tracers or
    reducing over a mapped axis. ``grad_fn`` is traced once per call, with abstract ``params``, just
    as in a loop body.

    Limits. What XLA:CPU is slow at outside loops stays as slow inside, such as grouped convolutions
    in three dimensions. Convolutions inside other higher-order primitives (``shard_map``, Pallas
    kernels), with arrays sharded over explicit mesh axes, or arising from differentiating the
    returned function, keep the layout they have: correct, but slow in a loop. Called outside
    ``jit``, the returned function compiles anew each time, like ``scan`` over a new body.

    Args:
      grad_fn: ``(params, i) -> grads``, with ``params`` and ``grads`` pytrees of arrays.

    Returns:
      A function with the signature and the results of ``grad_fn``.
    """

    @functools.wraps(grad_fn)
    def fast_grad_fn(params: Any, i: Any) -> Any:
        # The user is debugging `grad_fn` on concrete values.
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return grad_fn(params, i)

        # Under `jit` the jaxpr is a single call, so that running it costs no second trace. `i` is
        # closed over and not an argument: a concrete step stays concrete.
        @jax.jit
        def gradient(params: Any) -> Any:
            return grad_fn(params, i)

        jaxpr, shapes = jax.make_jaxpr(gradient, return_shape=True)(params)
        grads = core.jaxpr_as_fun(_canonicalize_param(jaxpr))(*jax.tree.leaves(params))
        return jax.tree.unflatten(jax.tree.structure(shapes), grads)

    return fast_grad_fn


def _canonicalize_param(param: Any) -> Any:
    """Rewrites the jaxprs in an equation's parameter; the same object if nothing changes."""
    if isinstance(param, core.Jaxpr):
        eqns = [_canonicalize_eqn(eqn) for eqn in param.eqns]
        return param.replace(eqns=eqns) if _differ(eqns, param.eqns) else param
    if isinstance(param, core.ClosedJaxpr):
        jaxpr = _canonicalize_param(param.jaxpr)
        return param if jaxpr is param.jaxpr else param.replace(jaxpr=jaxpr)
    if type(param) is tuple:  # the branches of cond
        branches = tuple(map(_canonicalize_param, param))
        return branches if _differ(branches, param) else param
    return param


def _canonicalize_eqn(eqn: core.JaxprEqn) -> core.JaxprEqn:
    if eqn.primitive in _CALLS_AND_LOOPS:
        params = {name: _canonicalize_param(param) for name, param in eqn.params.items()}
        return eqn.replace(params=params) if _differ(params.values(), eqn.params.values()) else eqn
    if eqn.primitive is not primitives.conv_general_dilated_p or _is_canonical(**eqn.params):
        return eqn
    avals: list[Any] = [var.aval for var in eqn.invars]
    if any(axis is not None for aval in avals for axis in aval.sharding.spec):
        return eqn
    # One call takes the equation's place: no variables to rename, and the name stack stays.
    (call,) = jax.make_jaxpr(functools.partial(_convolve, **eqn.params))(*avals).eqns
    return eqn.replace(primitive=call.primitive, params=call.params)


def _differ(new: Any, old: Any) -> bool:
    return any(a is not b for a, b in zip(new, old, strict=True))


def _is_canonical(
    *, dimension_numbers: lax.ConvDimensionNumbers, batch_group_count: int, **_: Any
) -> bool:
    canonical = _canonical_dimension_numbers(len(dimension_numbers.lhs_spec) - 2)
    return dimension_numbers == canonical and batch_group_count == 1


def _canonical_dimension_numbers(num_spatial: int) -> lax.ConvDimensionNumbers:
    # In the order of `ConvDimensionNumbers`: batch, feature, spatial...; out, in, spatial...
    image = (0, num_spatial + 1, *range(1, num_spatial + 1))
    kernel = (num_spatial + 1, num_spatial, *range(num_spatial))
    return lax.ConvDimensionNumbers(image, kernel, image)


@functools.partial(jax.jit, static_argnames=(
    "window_strides", "padding", "lhs_dilation", "rhs_dilation", "dimension_numbers",
    "feature_group_count", "batch_group_count", "precision", "preferred_element_type",
    "out_sharding",
))  # fmt: skip
def _convolve(lhs: jax.Array, rhs: jax.Array, **params: Any) -> jax.Array:
    # The platform is chosen per convolution and not around the whole gradient: `grad_fn` is traced
    # once, and no collective ends up in a branch.
    return lax.platform_dependent(
        lhs,
        rhs,
        cpu=functools.partial(_convolve_canonically, **params),
        default=functools.partial(primitives.conv_general_dilated_p.bind, **params),
    )


def _convolve_canonically(
    lhs: jax.Array,
    rhs: jax.Array,
    *,
    dimension_numbers: lax.ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    **params: Any,
) -> jax.Array:
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    batch, feature, *spatial = lhs_spec
    lhs = lax.transpose(lhs, (batch, *spatial, feature))
    out_feature, in_feature, *spatial = rhs_spec
    rhs = lax.transpose(rhs, (*spatial, in_feature, out_feature))
    # XLA:CPU has no fast batch groups; its own rewrite, up to hundreds of times slower than feature
    # groups, is fine for one case: the kernel gradient of a depthwise convolution.
    if not lhs.shape[0] == rhs.shape[-1] == batch_group_count:
        lhs = _batch_groups_to_feature_groups(lhs, batch_group_count)
        feature_group_count, batch_group_count = feature_group_count * batch_group_count, 1
    out = lax.conv_general_dilated(
        lhs,
        rhs,
        dimension_numbers=_canonical_dimension_numbers(len(spatial)),
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        **params,
    )
    batch, feature, *spatial = out_spec
    dims = (batch, *spatial, feature)
    return lax.transpose(out, [dims.index(dim) for dim in range(out.ndim)])


def _batch_groups_to_feature_groups(lhs: jax.Array, groups: int) -> jax.Array:
    """(groups * batch, spatial..., feature) -> (batch, spatial..., groups * feature)."""
    if groups == 1:
        return lhs
    batch, *spatial, feature = lhs.shape
    lhs = lax.reshape(lhs, (groups, batch // groups, *spatial, feature))
    lhs = lax.transpose(lhs, (*range(1, lhs.ndim - 1), 0, lhs.ndim - 1))
    return lax.reshape(lhs, (batch // groups, *spatial, groups * feature))
