import inspect
import optax_lookbehind as ol
_NOT = {"multistep", "lookbehind", "combination", "policy", "momentum_sam_eval_params"}
ALIASES = [n for n in ol.__all__ if n.islower() and not n.endswith(("_policy", "_filter", "_fn", "_perturbation", "_params", "weighted", "normalized", "_direction", "_gap")) and n not in _NOT]
