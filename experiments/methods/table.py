"""The table of methods: a new method is one row.

A method is named with its arguments in one string, ``lookbehind_sam:k=5,rho=0.05``; arguments that
are not given have the defaults of the table, most of them the papers' or of the authors' code.
"""

import optax

import optax_lookbehind as ol
from experiments.configs.lookup import unknown
from experiments.methods import build, directions, masks, spec
from experiments.methods.method import (
    BoundMethod,
    Method,
    Step,
)
from experiments.methods.own import own_method

# Defaults: rho as in Lookbehind-SAM on CIFAR-10 (Mordido et al., 2024, section 5.2), k and alpha as
# in its Table 8; lambdas, decay, period and probability as in AE-SAM (Jiang et al., 2023, sections
# 3.2 and 4.1), eta as in ASAM (Kwon et al., 2021), beta and gamma as in ESAM (Du et al., 2022).
# Mordido et al. do not state k and alpha of Lookahead, and Jiang et al. search LookSAM's alpha in
# 0.1, 0.3, 0.6, 0.9 without stating the result: those are this project's choice.
# The other methods have SAM's rho, or this project's choice where rho has another meaning (usam,
# sam_on, momentum_sam), and otherwise the defaults of their authors' code.
_SAM = {"rho": 0.05}
_ASAM = {"rho": 0.5, "eta": 0.01}
_MULTISTEP = {"average": False, "rho_over_k": False}
_LOOKBEHIND: spec.Signature = {
    "alpha": "adaptive",
    "fast_optimizer": True,
    "switch_minibatch": False,
    "rho_over_k": False,
}
_LOOKAHEAD = {"k": 5, "alpha": 0.5}
_AE = {"lambda_1": -1.0, "lambda_2": 1.0, "decay": 0.9}
_AE_LOOKSAM = {"lambda_1": 0.0, "lambda_2": 2.0, "decay": 0.9}

METHODS: dict[str, Method] = {
    "none": Method(
        "{optimizer}", lambda a, run: build.averaged(run, run.optimizer), {}, build.no_ascent
    ),
    "sam": Method("SAM", build.chained(ol.sam), _SAM),
    "asam": Method("ASAM", build.chained(ol.asam), _ASAM, perturbation="asam"),
    "multistep_sam": Method(
        "Multistep-SAM",
        lambda a, run: run.chain(ol.multistep_sam(**build.ascent(a), **run.axis)),
        {"k": 2, **_SAM, **_MULTISTEP},
        build.k_ascents,
    ),
    "multistep_asam": Method(
        "Multistep-ASAM",
        lambda a, run: run.chain(ol.multistep_asam(**build.ascent(a), **run.axis)),
        {"k": 2, **_ASAM, **_MULTISTEP},
        build.k_ascents,
        perturbation="asam",
    ),
    "lookahead": Method(
        "Lookahead-{optimizer}",
        lambda a, run: build.averaged(run, build.lookahead(a, run)),
        _LOOKAHEAD,
        build.no_ascent,
        wrap_params=build.fast_and_slow,
    ),
    "lookahead_sam": Method(
        "Lookahead-SAM",
        lambda a, run: optax.chain(ol.sam(a["rho"], **run.axis), build.lookahead(a, run)),
        {**_LOOKAHEAD, **_SAM},
        wrap_params=build.fast_and_slow,
    ),
    "lookahead_asam": Method(
        "Lookahead-ASAM",
        lambda a, run: optax.chain(
            ol.asam(a["rho"], a["eta"], **run.axis), build.lookahead(a, run)
        ),
        {**_LOOKAHEAD, **_ASAM},
        perturbation="asam",
        wrap_params=build.fast_and_slow,
    ),
    "lookbehind_sam": Method(
        "Lookbehind-SAM",
        lambda a, run: build.lookbehind(ol.lookbehind_sam, a, run),
        {"k": 2, **_SAM, **_LOOKBEHIND},
        build.lookbehind_step,
    ),
    "lookbehind_asam": Method(
        "Lookbehind-ASAM",
        lambda a, run: build.lookbehind(ol.lookbehind_asam, a, run),
        {"k": 2, **_ASAM, **_LOOKBEHIND},
        build.lookbehind_step,
        perturbation="asam",
    ),
    "ae_sam": Method(
        "AE-SAM",
        lambda a, run: run.chain(ol.ae_sam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, **_AE},
        build.adaptive_step,
    ),
    "ae_looksam": Method(
        "AE-LookSAM",
        lambda a, run: run.chain(ol.ae_looksam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, "alpha": 0.5, **_AE_LOOKSAM},
        build.adaptive_step,
    ),
    "ae_lookbehind_sam": Method(
        "AE-Lookbehind-SAM",
        lambda a, run: run.chain(
            ol.ae_lookbehind_sam(**build.ascent(a), total_steps=run.total_steps, **run.axis)
        ),
        {"k": 2, **_SAM, "alpha": "adaptive", "rho_over_k": False, **_AE},
        build.adaptive_step,
    ),
    "looksam": Method(
        "LookSAM",
        build.chained(ol.looksam),
        {**_SAM, "alpha": 0.5, "period": 5},
        lambda a: Step(sharp_fraction=1 / a["period"]),
    ),
    "ss_sam": Method(
        "SS-SAM",
        lambda a, run: run.chain(ol.ss_sam(**a, key=run.key, **run.axis)),
        {**_SAM, "probability": 0.5},
        lambda a: Step(sharp_fraction=a["probability"]),
    ),
    "late_sam": Method(
        "Late SAM",
        lambda a, run: run.chain(ol.late_sam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, "fraction": 0.5},
        lambda a: Step(sharp_fraction=a["fraction"]),
    ),
    "esam": Method(
        "ESAM",
        lambda a, run: run.chain(ol.esam(a["rho"], a["beta"], key=run.key, **run.axis)),
        {**_SAM, "beta": 0.6, "gamma": 0.5},
        example_fraction=lambda a: a["gamma"],
    ),
    "gsam": Method("GSAM", build.chained(ol.gsam), {**_SAM, "alpha": 0.4}),
    "gnp": Method("GNP", build.chained(ol.gnp), {**_SAM, "alpha": 0.8}),
    "wsam": Method("WSAM (coupled)", build.chained(ol.wsam), {**_SAM, "gamma": 0.9}),
    "wsam_decoupled": Method(
        "WSAM",
        lambda a, run: ol.wsam_decoupled(run.optimizer, run.learning_rate, **a, **run.axis),
        {**_SAM, "gamma": 0.9},
    ),
    "stable_sam": Method("Stable SAM", build.chained(ol.stable_sam), _SAM),
    "saner": Method("SANER", build.chained(ol.saner), {**_SAM, "alpha": 0.5}),
    "sam_on": Method(
        "SAM-ON",
        lambda a, run: run.chain(ol.sam_on(a["rho"], masks.normalization, **run.axis)),
        {"rho": 0.5},
    ),
    "usam": Method("USAM", build.chained(ol.usam), _SAM),
    "le_sam": Method("LE-SAM", build.chained(ol.le_sam), {"budget": 0.1, "rho_max": 0.05}),
    "xsam": Method(
        "XSAM",
        lambda a, run: run.chain(ol.xsam(**build.ascent(a), **run.axis)),
        {**_SAM, "alpha": 1.0, "k": 1, "rho_over_k": False},
        build.k_ascents,
    ),
    "friendly_sam": Method(
        "Friendly SAM",
        build.chained(ol.friendly_sam),
        {**_SAM, "sigma": 1.0, "decay": 0.9},
    ),
    "vasso": Method("VaSSO", build.chained(ol.vasso), {**_SAM, "theta": 0.9}),
    "last_gradient_sam": Method(
        "SAM along the last gradient",
        lambda a, run: run.chain(directions.last_gradient_sam(**a, **run.axis)),
        _SAM,
        build.no_ascent,
    ),
    "random_direction_sam": Method(
        "SAM along a random direction",
        lambda a, run: run.chain(directions.random_direction_sam(**a, key=run.key, **run.axis)),
        _SAM,
        build.no_ascent,
    ),
    "momentum_sam": Method(
        "Momentum-SAM",
        lambda a, run: build.averaged(run, ol.momentum_sam(run.optimizer, a["rho"])),
        {"rho": 0.3},
        build.no_ascent,
        trains_perturbed_weights=True,
    ),
}

ALIASES = {"sgd": "none"}  # the base optimizer alone, which usually is SGD


def method(text: str) -> BoundMethod:
    """The method that a string names.

    Args:
      text: a name of the table or ``module:function`` (:func:`own_method`), with arguments or none.

    Raises:
      ValueError: if there is no such method, it does not have one of the arguments, or a value is
        invalid; the message shows the valid names, or the method's arguments and defaults.
    """
    parsed = spec.parse(text)
    name = ALIASES.get(parsed.name, parsed.name)
    if ":" in name and name.partition(":")[0] not in METHODS:
        row = own_method(name)
    elif name in METHODS:
        row = METHODS[name]
    elif ":" in name:
        raise ValueError(spec.wrong_form(text))
    else:
        raise ValueError(f"{unknown('method', name, METHODS)} Or module:function, your own.")
    bound = BoundMethod(name, row, spec.bind(parsed, row.defaults))
    bound.check()
    return bound
