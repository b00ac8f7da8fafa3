"""The tests that decide the claims of Lookbehind-SAM."""

import itertools
from collections.abc import Iterable

import numpy as np

from experiments.recipes.claims.claim import (
    Evidence,
    Finding,
    Test,
    decided,
    differences,
    exact,
    in_range,
    larger,
    smaller,
)

FIGURE_1, FIGURE_3, FIGURE_5 = (f"lookbehind.figure{n}" for n in (1, 3, 5))
TABLE_1, TABLE_2 = "lookbehind.table1", "lookbehind.table2"
_OTHERS = ("{0}", "Multistep-{0}", "Multistep-{0} + average grads", "Lookahead-{0}")
FAMILIES = ("SAM", "ASAM")


def _radii(evidence: Evidence, recipe: str, family: str) -> list[str]:
    """The texts of the training radii, ascending."""
    rows = [row for column in evidence.columns(recipe) for row in evidence.rows(recipe, column)]
    found = {row.split("rho = ")[1] for row in rows if row.startswith(f"{family}, rho = ")}
    return sorted(found, key=float)


def l1(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L1."""
    radii = _radii(evidence, FIGURE_1, "SAM")
    for small, large in itertools.pairwise(radii):
        rows = f"SAM, rho = {large}", f"SAM, rho = {small}"
        yield from larger(FIGURE_1, *rows, "loss")(evidence)
        yield from smaller(FIGURE_1, *rows, "m_sharpness")(evidence)


def at_radii(form: str, other: str, quantity: str, recipe: str = FIGURE_1) -> Test:
    """``quantity`` is smaller for ``form`` than for ``other`` at each training radius."""

    def test(evidence: Evidence) -> Iterable[Finding]:
        for family in FAMILIES:
            for rho in _radii(evidence, recipe, family):
                row, other_row = (f"{n.format(family)}, rho = {rho}" for n in (form, other))
                yield from smaller(recipe, row, other_row, quantity)(evidence)

    return test


def l2(evidence: Evidence) -> Iterable[Finding]:
    """Not lower in both loss and sharpness: the larger of the two differences is positive."""
    for form in ("Multistep", "Lookahead"):
        for rho in _radii(evidence, FIGURE_1, "SAM"):
            for column in evidence.columns(FIGURE_1):
                both = []
                for quantity in ("loss", "m_sharpness"):
                    rows = (f"{form}-SAM, rho = {rho}", f"SAM, rho = {rho}")
                    values = [evidence.values(FIGURE_1, column, r, quantity) for r in rows]
                    both.append(differences(*values))
                if both[0]:
                    findings = [decided("", each) for each in both]
                    best = max(findings, key=lambda f: (f.interval or (f.effect,))[0])
                    name = ("loss", "m_sharpness")[findings.index(best)]
                    yield best._replace(text=f"{form}-SAM - SAM, rho = {rho}, {name} ({column})")


def best_of_table_1() -> list:
    """Lookbehind is above every other row of its family (L4)."""
    tests = []
    for family in FAMILIES:
        ours = f"Lookbehind-{family}"
        tests += [larger(TABLE_1, ours, other.format(family)) for other in _OTHERS]
        tests.append(larger(TABLE_1, ours, "Lookahead-SGD"))
    return tests


def noise() -> list:
    """Lookbehind is more accurate under noise on the weights."""
    return [
        larger("lookbehind.figure4", f"Lookbehind-{family}", other.format(family), "noisy_accuracy")
        for family in FAMILIES
        for other in ("{0}", "Multistep-{0}", "Lookahead-{0}")
    ]


def sharpness() -> list:
    """Lookbehind has the lowest m-sharpness at every training radius."""
    others = ("{0}", "Multistep-{0}", "Lookahead-{0}")
    return [at_radii("Lookbehind-{0}", other, "m_sharpness", FIGURE_3) for other in others]


def table_2() -> list:
    """Lookbehind is above the other optimizers, with and without replay."""
    pairs = [("Lookbehind-SAM", other) for other in ("SGD", "SAM", "Multistep-SAM")] + [
        ("ER + Lookbehind-SAM", f"ER + {other}") for other in ("SGD", "SAM", "Multistep-SAM")
    ]
    pairs.append(("Lookbehind-C-MAML", "Lookahead-C-MAML"))
    accuracy = [larger(TABLE_2, *pair, "average_accuracy") for pair in pairs]
    return accuracy + [smaller(TABLE_2, *pair, "forgetting") for pair in pairs]


def every_k(evidence: Evidence) -> Iterable[Finding]:
    """Lookbehind is above the baseline for every k."""
    for family in FAMILIES:
        ks = _inner_steps(evidence, f"Lookbehind-{family}")
        for k in ks:
            yield from larger(FIGURE_5, f"Lookbehind-{family}, k = {k}", family)(evidence)
        for small, large in itertools.pairwise(ks):
            rows = (f"Lookbehind-{family}, k = {k}" for k in (large, small))
            yield from larger(FIGURE_5, *rows)(evidence)


def _inner_steps(evidence: Evidence, form: str, recipe: str = FIGURE_5) -> list[int]:
    rows = [row for column in evidence.columns(recipe) for row in evidence.rows(recipe, column)]
    return sorted({int(row.split("k = ")[1]) for row in rows if row.startswith(f"{form}, k = ")})


def l10(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L10."""
    for family in FAMILIES:
        for k in _inner_steps(evidence, f"Lookahead-{family}"):
            rows = (f"{form}-{family}, k = {k}" for form in ("Lookahead", "Multistep"))
            yield from larger(FIGURE_5, *rows)(evidence)


def l11(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L11."""
    recipe = "lookbehind.figure6"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind-"):
                form, _, rho = row.split(", ")
                other = f"{form.removeprefix('Lookbehind-')}, {rho}"
                yield from larger(recipe, row, other, column=column)(evidence)


def l12(evidence: Evidence) -> Iterable[Finding]:
    """Above SAM for all k, but k = 2 with SAM; the best alpha of a small k is not the smaller."""
    recipe = "lookbehind.figure7"
    for column in evidence.columns(recipe):
        for family in FAMILIES:
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


def l13(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L13."""
    recipe = "lookbehind.figure8"
    for column in evidence.columns(recipe, "SAM, then Lookbehind"):
        rows = evidence.rows(recipe, column)
        for k in dict.fromkeys(row.split(",")[0] for row in rows):
            same_k = [row for row in rows if row.startswith(f"{k},")]
            yield from larger(recipe, same_k[0], same_k[-2], column=column)(evidence)


def l17(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L17."""
    recipe = "lookbehind.figure9"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("steps of rho,") and "adaptive" not in row:
                other = row.replace("steps of rho,", "steps of rho / k,")
                yield from larger(recipe, row, other, column=column)(evidence)


def l18(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L18."""
    recipe = "lookbehind.figure10"
    for column in evidence.columns(recipe):
        rows = evidence.rows(recipe, column)
        for family in FAMILIES:
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


def l19(evidence: Evidence) -> Iterable[Finding]:
    """Deviation of accuracy over the grid of alpha and k, Lookahead's minus Lookbehind's."""
    recipes = {"Lookbehind": "lookbehind.figure13", "Lookahead": "lookbehind.figure14"}
    for column in evidence.columns(recipes["Lookbehind"]):
        for family in FAMILIES:
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


def l21(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L21."""
    recipe = "lookbehind.table9"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind") and "alpha = 0.2, k = 2" not in row:
                other = row.removeprefix("Lookbehind-").split(" ")[0]
                yield from larger(recipe, row, other, column=column)(evidence)


def l22(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L22."""
    recipe, quantity = "lookbehind.table10", "percent_of_multistep"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            if row.startswith("Lookbehind"):
                yield from in_range(recipe, row, quantity, 0, 60, column=column)(evidence)


def l23(evidence: Evidence) -> Iterable[Finding]:
    """Tests claim L23."""
    for column in evidence.columns(TABLE_1):
        for family in FAMILIES:
            rows = (f"{form}-{family}" for form in ("Lookbehind", "Multistep"))
            ours, theirs = (evidence.gradients_per_step(TABLE_1, column, row) for row in rows)
            if ours is not None and theirs is not None:
                yield exact(f"gradients a step, Lookbehind - Multistep ({column})", ours - theirs)
