"""Convolutions that stay fast in loops and branches on the CPU: :func:`call_in_loop`.

XLA has fast CPU convolutions for one layout only. A compiler pass brings other layouts into this
form, but only in the entry computation, not in the bodies of loops and branches
(https://github.com/jax-ml/jax/issues/12868). The gradient with respect to a kernel is a convolution
in another layout, whatever the model's own layout is, so that a gradient inside a loop falls back
to a naive implementation that is tens of times slower. The sharpness-aware methods take their
gradients in loops; this module does the work of that compiler pass on the gradient's jaxpr.
"""

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
from jax import lax

try:
    from jax.extend import core
    from jax.extend.core import primitives
except ImportError:  # a JAX without them: call_in_loop warns, and calls the function as it is
    core = primitives = None  # type: ignore[assignment]

_SWITCH = "OPTAX_LOOKBEHIND_REWRITE_CONVOLUTIONS"

# Primitives that run the jaxprs in their parameters as they are. A convolution inside any other
# higher-order primitive (a Pallas kernel, say) stays untouched.
_CALLS_AND_LOOPS = (
    "closed_call_p cond_p custom_jvp_call_p custom_vjp_call_p jit_p remat_p scan_p while_p"
)


def call_in_loop(fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)``, its convolutions fast in ``scan``, ``while`` and ``cond`` on the CPU.

    Every convolution of ``fn``, those inside its own calls, loops and branches included, becomes
    transpose -> convolution in the layout that XLA:CPU is fast for -> transpose. A grouped
    convolution's kernel gradient also trades its batch groups for feature groups. Nothing else
    changes, and results are equal up to rounding (to the last bit, where XLA fuses the rest of the
    program alike). The layout is chosen when the program is lowered: on accelerators the user's
    convolutions stay as written.

    To switch it off, set the environment variable ``OPTAX_LOOKBEHIND_REWRITE_CONVOLUTIONS=0``,
    which is read whenever a function is traced. Where the installed JAX lacks what the rewrite
    needs, the library warns once and calls ``fn`` as it is.

    It works under every transformation of JAX, with ``fn`` closing over tracers or reducing over a
    mapped axis. ``fn`` is traced once per call. What XLA:CPU is slow at outside loops stays as slow
    inside, such as grouped convolutions in three dimensions. Convolutions inside other higher-order
    primitives (``shard_map``, Pallas kernels), with arrays sharded over explicit mesh axes, or
    arising from differentiating the result, keep the layout they have: correct, but slow in a loop.

    Args:
      fn: a function of pytrees of arrays, such as a gradient function.
      *args: its arguments.

    Returns:
      Its result.
    """
    # With jit disabled, call the function directly, on concrete values.
    if jax.config.jax_disable_jit or not _switched_on():  # type: ignore[attr-defined]
        return fn(*args)
    # Under `jit` the jaxpr is a single call, so that running it costs no second trace. A new object
    # each time, or JAX would return an old trace of a function that reads data changed since.
    traced = jax.jit(functools.partial(fn))
    # Outside the guard: errors in `fn` are the user's.
    jaxpr, shapes = jax.make_jaxpr(traced, return_shape=True)(*args)
    try:
        run = core.jaxpr_as_fun(_Canonicalizer().param(jaxpr))
    except Exception as error:
        _warn_once(f"{type(error).__name__}: {error}")
        return traced(*args)
    return jax.tree.unflatten(jax.tree.structure(shapes), run(*jax.tree.leaves(args)))


def _switched_on() -> bool:
    value = os.environ.get(_SWITCH, "1")
    if value not in ("0", "1"):
        raise ValueError(f"{_SWITCH} must be 0 (off) or 1 (on), got {value!r}")
    return value == "1"


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"JAX {jax.__version__} does not support the rewriting of CPU convolutions ({reason}). "
        "Results are the same; on a CPU the gradients of convolutions may be many times slower. "
        f"{_SWITCH}=0 silences this warning.",
        RuntimeWarning,
        stacklevel=2,
    )


class _Canonicalizer:
    """Rewrites one jaxpr, and each jaxpr inside it once, from however many places it is called.

    Functions under ``jit`` share their jaxpr between calls. Sharing the rewritten one too keeps the
    work, and the size of the lowered program, independent of the number of calls.
    """

    def __init__(self) -> None:
        self._rewritten: dict[Any, Any] = {}
        self._descended = {getattr(primitives, name) for name in _CALLS_AND_LOOPS.split()}

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

    def _eqn(self, eqn: Any) -> Any:
        if eqn.primitive in self._descended:
            params = {name: self.param(param) for name, param in eqn.params.items()}
            changed = _differ(params.values(), eqn.params.values())
            return eqn.replace(params=params) if changed else eqn
        if eqn.primitive is not primitives.conv_general_dilated_p or _is_canonical(**eqn.params):
            return eqn
        avals: list[Any] = [var.aval for var in eqn.invars]
        if any(axis is not None for aval in avals for axis in aval.sharding.spec):
            return eqn
        # `_convolve` is under jit, so that its jaxpr is one equation. With that in the place of the
        # convolution, no variable is renamed, and the name stack stays.
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
    # The fast layout, in the order of `ConvDimensionNumbers` (batch, feature, spatial...; out, in,
    # spatial...): images are batch, spatial..., feature, and kernels spatial..., in, out.
    image = (0, num_spatial + 1, *range(1, num_spatial + 1))
    kernel = (num_spatial + 1, num_spatial, *range(num_spatial))
    return lax.ConvDimensionNumbers(image, kernel, image)


@functools.partial(jax.jit, static_argnames=(
    "window_strides", "padding", "lhs_dilation", "rhs_dilation", "dimension_numbers",
    "feature_group_count", "batch_group_count", "precision", "preferred_element_type",
    "out_sharding",
))  # fmt: skip
def _convolve(lhs: jax.Array, rhs: jax.Array, **params: Any) -> jax.Array:
    # The platform is chosen per convolution and not around the whole gradient: the function is
    # traced once, and no collective ends up in a branch.
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
