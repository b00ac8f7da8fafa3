"""Rewrites the convolutions of a jaxpr into the one layout that XLA:CPU is fast for.

That layout is batch, spatial..., feature for images and spatial..., in, out for kernels. The reason
is in :mod:`optax_lookbehind._core.cpu_convolutions`, the only user of this module; everything that
depends on JAX's internal representation is here.
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


def canonicalized(jaxpr: core.ClosedJaxpr) -> Callable[..., list[jax.Array]]:
    """A function that runs ``jaxpr`` with its convolutions in the canonical layout."""
    return core.jaxpr_as_fun(_Canonicalizer().param(jaxpr))


class _Canonicalizer:
    """Rewrites one jaxpr, and each jaxpr inside it once, from however many places it is called.

    Functions under ``jit`` share their jaxpr between calls. Sharing the rewritten one too keeps the
    work, and the size of the lowered program, independent of the number of calls.
    """

    def __init__(self) -> None:
        self._rewritten: dict[Any, Any] = {}

    def param(self, param: Any) -> Any:
        """Rewrites the jaxprs in an equation's parameter; the same object if nothing changes."""
        if type(param) is tuple:  # the branches of cond
            branches = tuple(map(self.param, param))
            return branches if _differ(branches, param) else param
        if not isinstance(param, core.Jaxpr | core.ClosedJaxpr):
            return param
        if param not in self._rewritten:
            self._rewritten[param] = self._jaxpr(param)
        return self._rewritten[param]

    def _jaxpr(self, jaxpr: Any) -> Any:
        # Before JAX 0.12; there, a Jaxpr holds its constants itself, and its `jaxpr` is itself.
        if isinstance(jaxpr, core.ClosedJaxpr) and jaxpr.jaxpr is not jaxpr:
            inner = self.param(jaxpr.jaxpr)
            return jaxpr if inner is jaxpr.jaxpr else jaxpr.replace(jaxpr=inner)
        eqns = [self._eqn(eqn) for eqn in jaxpr.eqns]
        return jaxpr.replace(eqns=eqns) if _differ(eqns, jaxpr.eqns) else jaxpr

    def _eqn(self, eqn: core.JaxprEqn) -> core.JaxprEqn:
        if eqn.primitive in _CALLS_AND_LOOPS:
            params = {name: self.param(param) for name, param in eqn.params.items()}
            changed = _differ(params.values(), eqn.params.values())
            return eqn.replace(params=params) if changed else eqn
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
