"""The rewrite of convolutions for loops on the CPU: its entry point, off switch and guard.

XLA has fast CPU convolutions for one layout only. A compiler pass brings other layouts into this
form, but only in the entry computation, not in the bodies of loops and branches
(https://github.com/jax-ml/jax/issues/12868). The gradient with respect to a kernel is a convolution
in another layout, whatever the model's own layout is, so that a gradient inside a loop falls back
to a naive implementation that is tens of times slower. The sharpness-aware methods take their
gradients in a loop; :mod:`optax_lookbehind._core.canonical_convolutions` therefore does the work of
that compiler pass on the gradient's jaxpr.
"""

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import jax

_SWITCH = "OPTAX_LOOKBEHIND_REWRITE_CONVOLUTIONS"


def rewrite_cpu_convolutions(grad_fn: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Makes a gradient function's convolutions fast in ``scan``, ``while``, ``cond`` on the CPU.

    Every convolution of ``grad_fn``, those inside its own calls, loops and branches included,
    becomes transpose -> convolution in the layout that XLA:CPU is fast for -> transpose. A grouped
    convolution's kernel gradient also trades its batch groups for feature groups. Nothing else
    changes, and the gradients are equal up to rounding (to the last bit, where XLA fuses the rest
    of the program alike). The layout is chosen when the program is lowered: on accelerators the
    user's convolutions stay as written.

    To switch it off, set the environment variable ``OPTAX_LOOKBEHIND_REWRITE_CONVOLUTIONS=0``. It
    is read whenever a gradient function is traced, so setting it in ``os.environ`` before the first
    step works too. Where the installed JAX lacks what the rewrite needs, the library warns once and
    uses ``grad_fn`` as it is.

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
    def rewritten_grad_fn(params: Any, i: Any) -> Any:
        # With jit disabled, call `grad_fn` directly, on concrete values.
        if jax.config.jax_disable_jit or not _switched_on():  # type: ignore[attr-defined]
            return grad_fn(params, i)

        # Under `jit` the jaxpr is a single call, so that running it costs no second trace. `i` is
        # closed over and not an argument: a concrete step stays concrete.
        @jax.jit
        def gradient(params: Any) -> Any:
            return grad_fn(params, i)

        # Outside the guard: errors in `grad_fn` are the user's.
        jaxpr, shapes = jax.make_jaxpr(gradient, return_shape=True)(params)
        try:
            # Imported here, as the import is the first thing to fail on another JAX release.
            from optax_lookbehind._core.canonical_convolutions import canonicalized

            run = canonicalized(jaxpr)
        except Exception as error:
            _warn_once(f"{type(error).__name__}: {error}")
            return gradient(params)
        return jax.tree.unflatten(jax.tree.structure(shapes), run(*jax.tree.leaves(params)))

    return rewritten_grad_fn


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
