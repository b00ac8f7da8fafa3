"""Claims L1 to L23 of Lookbehind-SAM."""

import itertools
from collections.abc import Iterable

import numpy as np

from experiments.recipes.claims.claim import (
    Claim,
    Evidence,
    Finding,
    Test,
    all_of,
    close,
    decided,
    differences,
    exact,
    in_range,
    larger,
    smaller,
)

_FIGURE_1, _FIGURE_3, _FIGURE_5 = (f"lookbehind.figure{n}" for n in (1, 3, 5))
_TABLE_1, _TABLE_2 = "lookbehind.table1", "lookbehind.table2"
_OTHERS = ("{0}", "Multistep-{0}", "Multistep-{0} + average grads", "Lookahead-{0}")
_FAMILIES = ("SAM", "ASAM")


def _radii(evidence: Evidence, recipe: str, family: str) -> list[str]:
    """The texts of the training radii, ascending."""
    rows = [row for column in evidence.columns(recipe) for row in evidence.rows(recipe, column)]
    found = {row.split("rho = ")[1] for row in rows if row.startswith(f"{family}, rho = ")}
    return sorted(found, key=float)


def _l1(evidence: Evidence) -> Iterable[Finding]:
    radii = _radii(evidence, _FIGURE_1, "SAM")
    for small, large in itertools.pairwise(radii):
        rows = f"SAM, rho = {large}", f"SAM, rho = {small}"
        yield from larger(_FIGURE_1, *rows, "loss")(evidence)
        yield from smaller(_FIGURE_1, *rows, "m_sharpness")(evidence)


def _at_radii(form: str, other: str, quantity: str, recipe: str = _FIGURE_1) -> Test:
    """``quantity`` is smaller for ``form`` than for ``other`` at each training radius."""

    def test(evidence: Evidence) -> Iterable[Finding]:
        for family in _FAMILIES:
            for rho in _radii(evidence, recipe, family):
                row, other_row = (f"{n.format(family)}, rho = {rho}" for n in (form, other))
                yield from smaller(recipe, row, other_row, quantity)(evidence)

    return test


def _l2(evidence: Evidence) -> Iterable[Finding]:
    """Not lower in both loss and sharpness: the larger of the two differences is positive."""
    for form in ("Multistep", "Lookahead"):
        for rho in _radii(evidence, _FIGURE_1, "SAM"):
            for column in evidence.columns(_FIGURE_1):
                both = []
                for quantity in ("loss", "m_sharpness"):
                    rows = (f"{form}-SAM, rho = {rho}", f"SAM, rho = {rho}")
                    values = [evidence.values(_FIGURE_1, column, r, quantity) for r in rows]
                    both.append(differences(*values))
                if both[0]:
                    findings = [decided("", each) for each in both]
                    best = max(findings, key=lambda f: (f.interval or (f.effect,))[0])
                    name = ("loss", "m_sharpness")[findings.index(best)]
                    yield best._replace(text=f"{form}-SAM - SAM, rho = {rho}, {name} ({column})")


def _best_of_table_1() -> list:
    tests = []
    for family in _FAMILIES:
        ours = f"Lookbehind-{family}"
        tests += [larger(_TABLE_1, ours, other.format(family)) for other in _OTHERS]
        tests.append(larger(_TABLE_1, ours, "Lookahead-SGD"))
    return tests


def _noise() -> list:
    return [
        larger("lookbehind.figure4", f"Lookbehind-{family}", other.format(family), "noisy_accuracy")
        for family in _FAMILIES
        for other in ("{0}", "Multistep-{0}", "Lookahead-{0}")
    ]


def _sharpness() -> list:
    others = ("{0}", "Multistep-{0}", "Lookahead-{0}")
    return [_at_radii("Lookbehind-{0}", other, "m_sharpness", _FIGURE_3) for other in others]


def _table_2() -> list:
    pairs = [("Lookbehind-SAM", other) for other in ("SGD", "SAM", "Multistep-SAM")] + [
        ("ER + Lookbehind-SAM", f"ER + {other}") for other in ("SGD", "SAM", "Multistep-SAM")
    ]
    pairs.append(("Lookbehind-C-MAML", "Lookahead-C-MAML"))
    accuracy = [larger(_TABLE_2, *pair, "average_accuracy") for pair in pairs]
    return accuracy + [smaller(_TABLE_2, *pair, "forgetting") for pair in pairs]


def _every_k(evidence: Evidence) -> Iterable[Finding]:
    for family in _FAMILIES:
        ks = _inner_steps(evidence, f"Lookbehind-{family}")
        for k in ks:
            yield from larger(_FIGURE_5, f"Lookbehind-{family}, k = {k}", family)(evidence)
        for small, large in itertools.pairwise(ks):
            rows = (f"Lookbehind-{family}, k = {k}" for k in (large, small))
            yield from larger(_FIGURE_5, *rows)(evidence)


def _inner_steps(evidence: Evidence, form: str, recipe: str = _FIGURE_5) -> list[int]:
    rows = [row for column in evidence.columns(recipe) for row in evidence.rows(recipe, column)]
    return sorted({int(row.split("k = ")[1]) for row in rows if row.startswith(f"{form}, k = ")})


def _l10(evidence: Evidence) -> Iterable[Finding]:
    for family in _FAMILIES:
        for k in _inner_steps(evidence, f"Lookahead-{family}"):
            rows = (f"{form}-{family}, k = {k}" for form in ("Lookahead", "Multistep"))
            yield from larger(_FIGURE_5, *rows)(evidence)


def _l11(evidence: Evidence) -> Iterable[Finding]:
    recipe = "lookbehind.figure6"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind-"):
                form, _, rho = row.split(", ")
                other = f"{form.removeprefix('Lookbehind-')}, {rho}"
                yield from larger(recipe, row, other, column=column)(evidence)


def _l12(evidence: Evidence) -> Iterable[Finding]:
    """Above SAM for all k, but k = 2 with SAM; the best alpha of a small k is not the smaller."""
    recipe = "lookbehind.figure7"
    for column in evidence.columns(recipe):
        for family in _FAMILIES:
            best: dict[int, dict[float, float]] = {}
            for cell in evidence.cells(recipe):
                if cell["column"] == column and cell["series"] == f"Lookbehind-{family}":
                    found = cell["statistics"].get("test_accuracy")
                    if found:
                        best.setdefault(int(cell["x"]), {})[cell["y"]] = found["mean"]
            for k, by_alpha in sorted(best.items()):
                alpha = max(by_alpha, key=lambda a: by_alpha[a])
                if (family, k) != ("SAM", 2):
                    row = f"Lookbehind-{family}, alpha = {alpha}, k = {k}"
                    yield from larger(recipe, row, family, column=column)(evidence)


def _l13(evidence: Evidence) -> Iterable[Finding]:
    recipe = "lookbehind.figure8"
    for column in evidence.columns(recipe, "SAM, then Lookbehind"):
        rows = evidence.rows(recipe, column)
        for k in dict.fromkeys(row.split(",")[0] for row in rows):
            same_k = [row for row in rows if row.startswith(f"{k},")]
            yield from larger(recipe, same_k[0], same_k[-2], column=column)(evidence)


def _l17(evidence: Evidence) -> Iterable[Finding]:
    recipe = "lookbehind.figure9"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("steps of rho,") and "adaptive" not in row:
                other = row.replace("steps of rho,", "steps of rho / k,")
                yield from larger(recipe, row, other, column=column)(evidence)


def _l18(evidence: Evidence) -> Iterable[Finding]:
    recipe = "lookbehind.figure10"
    for column in evidence.columns(recipe):
        rows = evidence.rows(recipe, column)
        for family in _FAMILIES:
            same_family = [row for row in rows if row.startswith(f"{family},")]
            for small, large in itertools.pairwise(same_family):
                yield from smaller(recipe, large, small, "mean_alpha", column=column)(evidence)
        for row in rows:
            before, after = (
                evidence.values(recipe, column, row, f"alpha_{when}_drop")
                for when in ("before", "after")
            )
            text = f"{row}: alpha* before - after the first drop of the rate ({column})"
            yield decided(text, differences(before, after))


def _l19(evidence: Evidence) -> Iterable[Finding]:
    """Deviation of accuracy over the grid of alpha and k, Lookahead's minus Lookbehind's."""
    recipes = {"Lookbehind": "lookbehind.figure13", "Lookahead": "lookbehind.figure14"}
    for column in evidence.columns(recipes["Lookbehind"]):
        for family in _FAMILIES:
            spread = {}
            for form, recipe in recipes.items():
                grid = [
                    evidence.values(recipe, column, row, "test_accuracy")
                    for row in evidence.rows(recipe, column)
                    if row.startswith(f"{form}-{family},")
                ]
                seeds = set.intersection(*(set(each) for each in grid)) if grid else set()
                spread[form] = {seed: float(np.std([g[seed] for g in grid])) for seed in seeds}
            pairs = differences(spread["Lookahead"], spread["Lookbehind"])
            if pairs:
                yield decided(f"spread over alpha and k, {family} ({column})", pairs)


def _l21(evidence: Evidence) -> Iterable[Finding]:
    recipe = "lookbehind.table9"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind") and "alpha = 0.2, k = 2" not in row:
                other = row.removeprefix("Lookbehind-").split(" ")[0]
                yield from larger(recipe, row, other, column=column)(evidence)


def _l22(evidence: Evidence) -> Iterable[Finding]:
    recipe, quantity = "lookbehind.table10", "percent_of_multistep"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind"):
                yield from in_range(recipe, row, quantity, 0, 60, column=column)(evidence)


def _l23(evidence: Evidence) -> Iterable[Finding]:
    for column in evidence.columns(_TABLE_1):
        for family in _FAMILIES:
            rows = (f"{form}-{family}" for form in ("Lookbehind", "Multistep"))
            ours, theirs = (evidence.gradients_per_step(_TABLE_1, column, row) for row in rows)
            if ours is not None and theirs is not None:
                yield exact(f"gradients a step, Lookbehind - Multistep ({column})", ours - theirs)


CLAIMS = [
    Claim(
        "L1",
        "A larger rho in SAM raises the training loss and lowers the sharpness.",
        "section 1, Figure 1",
        _l1,
        [_FIGURE_1],
    ),
    Claim(
        "L2",
        "Multistep-SAM does not improve the trade-off of loss and sharpness; nor does "
        "Lookahead-SAM.",
        "section 1, Figure 1",
        _l2,
        [_FIGURE_1],
        "Tested: not lower in both; the paper says it of Lookahead-SAM at larger rho only.",
    ),
    Claim(
        "L3",
        "Lookbehind lowers loss and sharpness both, at small and large rho.",
        "section 1, Figure 1",
        all_of(
            _at_radii("Lookbehind-{0}", "{0}", "loss"),
            _at_radii("Lookbehind-{0}", "{0}", "m_sharpness"),
        ),
        [_FIGURE_1],
    ),
    Claim(
        "L4",
        "Lookbehind is best on every model and dataset, for SAM and for ASAM, and always above "
        "Lookahead-SGD.",
        "4.2, Table 1",
        all_of(*_best_of_table_1()),
        [_TABLE_1],
    ),
    Claim(
        "L5",
        "On ImageNet only Lookbehind beats SAM and ASAM.",
        "4.2, Table 1",
        all_of(
            *(
                larger(_TABLE_1, f"Lookbehind-{family}", family, column="ImageNet")
                for family in _FAMILIES
            )
        ),
        [_TABLE_1],
        "Needs ImageNet.",
    ),
    Claim(
        "L6",
        "Lookbehind's minima have the lowest m-sharpness at all radii and training rho.",
        "4.3, Figure 3",
        all_of(*_sharpness()),
        [_FIGURE_3],
        "Tested at the third radius of SAM's ball.",
    ),
    Claim(
        "L7",
        "Lookbehind keeps the most accuracy under weight noise.",
        "4.4, Figure 4",
        all_of(*_noise()),
        ["lookbehind.figure4"],
        "Tested at sigma = 0.3.",
    ),
    Claim(
        "L8",
        "Lifelong learning: best average accuracy and least forgetting, without and with replay, "
        "and with C-MAML.",
        "4.5, Table 2",
        all_of(*_table_2()),
        [_TABLE_2],
    ),
    Claim(
        "L9",
        "Only Lookbehind beats SAM and ASAM at every k, and it tends to improve with k.",
        "5.1, Figure 5",
        _every_k,
        [_FIGURE_5],
        "Tested: Lookbehind's part.",
    ),
    Claim(
        "L10",
        "Lookahead is slightly better than Multistep.",
        "5.1, Figure 5",
        _l10,
        [_FIGURE_5],
    ),
    Claim(
        "L11",
        "Lookbehind beats SAM and ASAM at every rho.",
        "5.2, Figure 6",
        _l11,
        ["lookbehind.figure6"],
    ),
    Claim(
        "L12",
        "Lookbehind improves for all k but k = 2 with SAM on CIFAR-10.",
        "5.3, Figures 7, 13",
        _l12,
        ["lookbehind.figure7"],
        "Tested at the best alpha of each k, which favours Lookbehind; the diagonal trend of alpha "
        "and k is left to the figure.",
    ),
    Claim(
        "L13",
        "The benefit arises early: a late switch to Lookbehind gains little.",
        "5.4, Figure 8",
        _l13,
        ["lookbehind.figure8"],
        "Tested: Lookbehind from the start against Lookbehind in the last quarter.",
    ),
    Claim(
        "L14",
        "Adaptive alpha is competitive with static alpha.",
        "6.1, Table 3",
        all_of(
            close("lookbehind.table3", "+ adaptive alpha", "Lookbehind-SAM", 1.0),
            close("lookbehind.table3", "+ adaptive alpha (ASAM)", "Lookbehind-ASAM", 1.0),
        ),
        ["lookbehind.table3"],
        "Competitive: within one point.",
    ),
    Claim(
        "L15",
        "With switched minibatches Lookbehind improves on SAM and on ASAM.",
        "6.2, Table 4",
        all_of(
            larger("lookbehind.table4", "Lookbehind-SAM", "SAM", "score"),
            larger("lookbehind.table4", "Lookbehind-ASAM", "ASAM", "score"),
        ),
        ["lookbehind.table4"],
    ),
    Claim(
        "L16",
        "SAM and ASAM have saturated before the end of training.",
        "A.1.1, Table 5",
        all_of(*(in_range("lookbehind.table5", f, "best_epoch", 0, 39) for f in _FAMILIES)),
        ["lookbehind.table5"],
        "Tested at scale laptop: the best epoch of 40 comes before the last one. With wrong labels "
        "this is memorization rather than saturation.",
    ),
    Claim(
        "L17",
        "Steps of rho are better than steps of rho / k, always.",
        "A.1.2, Figure 9",
        _l17,
        ["lookbehind.figure9"],
    ),
    Claim(
        "L18",
        "Adaptive alpha is lower for larger k, and falls during training, in particular where the "
        "learning rate drops.",
        "A.1.3, Figure 10",
        _l18,
        ["lookbehind.figure10"],
    ),
    Claim(
        "L19",
        "Lookbehind is more robust to alpha and k than Lookahead.",
        "A.6, Figures 13, 14",
        _l19,
        ["lookbehind.figure13", "lookbehind.figure14"],
        "Tested: the deviation of accuracy over the grid.",
    ),
    Claim(
        "L20",
        "Lookbehind improves on SAM and ASAM with cosine schedule and label smoothing, untuned.",
        "A.7, Table 8",
        all_of(*(larger("lookbehind.table8", f"Lookbehind-{f}", f) for f in _FAMILIES)),
        ["lookbehind.table8"],
    ),
    Claim(
        "L21",
        "Lookbehind improves m-SAM and m-ASAM in every setting but alpha = 0.2, k = 2.",
        "A.8, Table 9",
        _l21,
        ["lookbehind.table9"],
    ),
    Claim(
        "L22",
        "Lookbehind reaches Multistep's accuracy at about half of the gradient computations.",
        "A.9, Table 10",
        _l22,
        ["lookbehind.table10"],
        "Tested: at most 60%.",
    ),
    Claim(
        "L23",
        "Lookbehind takes as many gradient computations as Multistep.",
        "sections 3, 6",
        _l23,
        [_TABLE_1],
        "Both take k + 1 here, counting the clean one, where the paper counts 2k: gradients at one "
        "minibatch are reused.",
    ),
]
