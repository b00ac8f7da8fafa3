"""Claims A1 to A17 of AE-SAM."""

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
    exact,
    in_range,
    larger,
    no_test,
    smaller,
)

_TABLE_1, _TABLE_2, _TABLE_3, _TABLE_4 = (f"aesam.table{n}" for n in (1, 2, 3, 4))
_NORMAL = 0.993  # 95% of the samples of 400 normal numbers have a higher correlation


def _a1(evidence: Evidence) -> Iterable[Finding]:
    recipe = "aesam.figure1"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            total, variance, full = (
                evidence.values(recipe, column, row, key)
                for key in ("expected_squared_norm", "variance", "squared_norm")
            )
            for seed in total:
                parts = variance[seed] + full[seed]
                error = np.max(np.abs(total[seed] - parts) / total[seed])
                text = f"{row}, seed {seed}: largest relative error ({column})"
                yield exact(text, error, tolerance=1e-3)


def _normal(recipe: str) -> Test:
    return in_range(recipe, "AE-SAM", "normal_correlation", _NORMAL)


def _a5(evidence: Evidence) -> Iterable[Finding]:
    recipe = "aesam.figure2"
    for column in evidence.columns(recipe):
        for row in evidence.rows(recipe, column):
            curves = evidence.values(recipe, column, row, "expected_squared_norm").values()
            ratios = [np.log2(curve.max() / curve.min()) for curve in curves]
            if ratios:
                yield decided(f"{row}: log2(max / min) over epochs ({column})", ratios, low=1.0)


def _a13() -> list:
    pairs = [("ERM", "AE-SAM"), ("SS-SAM", "AE-SAM"), ("AE-SAM", "SAM"), ("LookSAM", "AE-LookSAM")]
    return [larger("aesam.figure10", more, less, "overfitting") for more, less in pairs]


def _a14(evidence: Evidence) -> Iterable[Finding]:
    """%SAM falls with each step of lambda_1 at fixed lambda_2, and the other way round."""
    for recipe in ("aesam.figure5", "aesam.figure12"):
        cells = {(c["y"], c["x"]): c for c in evidence.cells(recipe)}
        for (low, high), cell in cells.items():
            for other in ((low + 1, high), (low, high + 1)):
                if other in cells:
                    rows = cell["row"], cells[other]["row"]
                    yield from larger(recipe, *rows, "percent_sam")(evidence)


def _a15(evidence: Evidence) -> Iterable[Finding]:
    recipe = "aesam.figure7"
    for column in evidence.columns(recipe):
        curves = evidence.values(recipe, column, "AE-SAM", "squared_norm").values()
        ratios = [np.log10(curve.max() / curve[-1]) for curve in curves]
        if ratios:
            text = f"log10(largest / last squared norm of the full gradient) ({column})"
            yield decided(text, ratios, low=1.0)


CLAIMS = [
    Claim(
        "A1",
        "The mean squared norm of minibatch gradients is variance plus squared norm of the full "
        "gradient.",
        "equation 3",
        _a1,
        ["aesam.figure1"],
        "An identity: this checks the measurement, to 0.1%.",
    ),
    Claim(
        "A2",
        "SAM's gradient variance is always much smaller than ERM's.",
        "3.1, Figure 1",
        smaller("aesam.figure1", "SAM", "ERM", "mean_variance"),
        ["aesam.figure1"],
        "Tested: smaller, mean over epochs.",
    ),
    Claim(
        "A3",
        "So is the mean squared norm of minibatch gradients.",
        "3.1, Figure 2",
        smaller("aesam.figure2", "SAM", "ERM", "mean_expected_squared_norm"),
        ["aesam.figure2"],
        "Tested: smaller, mean over epochs.",
    ),
    Claim(
        "A4",
        "Squared norms of minibatch gradients are approximately normal.",
        "3.2, B.1, Figures 3, 8, 9",
        all_of(_normal("aesam.figure3"), _normal("aesam.figure8")),
        ["aesam.figure3", "aesam.figure8"],
        "Tested: the correlation of the Q-Q plot is above 0.993, as for 95% of normal samples of "
        "that size. The paper judges by eye.",
    ),
    Claim(
        "A5",
        "The mean squared norm changes during training, so that it must be estimated online.",
        "3.2, Figure 2",
        _a5,
        ["aesam.figure2"],
        "Tested: by more than a factor of two.",
    ),
    Claim(
        "A6",
        "A low threshold makes the policy SAM, a high one ERM.",
        "3.2",
        all_of(
            in_range("aesam.figure5", "AE-SAM, lambda_1 = -2, lambda_2 = -2", "percent_sam", 90),
            in_range("aesam.figure5", "AE-SAM, lambda_1 = 2, lambda_2 = 2", "percent_sam", high=10),
        ),
        ["aesam.figure5"],
        "Tested at thresholds two deviations below and above the mean: 97.7% and 2.3% for normal "
        "squared norms.",
    ),
    Claim(
        "A7",
        "SAM helps more towards the end of training.",
        "3.2",
        no_test,
        [],
        "Cited from another paper and in no table or figure of this one: not tested.",
    ),
    Claim(
        "A8",
        "Rate O(1 / sqrt(T)), the same as SAM's.",
        "3.3, A.2",
        no_test,
        [],
        "A theorem: not tested.",
    ),
    Claim(
        "A9",
        "AE-SAM is above SAM with half of its steps and above SS-SAM; AE-LookSAM is above LookSAM.",
        "4.1, Table 1",
        all_of(
            larger(_TABLE_1, "AE-SAM", "SAM"),
            larger(_TABLE_1, "AE-SAM", "SS-SAM"),
            larger(_TABLE_1, "AE-LookSAM", "LookSAM"),
        ),
        [_TABLE_1],
    ),
    Claim(
        "A10",
        "lambda = (-1, 1) makes about 50% SAM, (0, 2) about 20%.",
        "4.1, 4.3",
        all_of(
            in_range(_TABLE_1, "AE-SAM", "percent_sam", 45, 55),
            in_range(_TABLE_1, "AE-LookSAM", "percent_sam", 15, 25),
        ),
        [_TABLE_1],
        "About: within five points.",
    ),
    Claim(
        "A11",
        "ImageNet: AE-SAM is comparable with SAM at half of its steps; AE-LookSAM is above "
        "LookSAM.",
        "4.2, Table 2",
        larger(_TABLE_2, "AE-LookSAM", "LookSAM", column="ImageNet"),
        [_TABLE_2],
        "Needs ImageNet.",
    ),
    Claim(
        "A12",
        "Wrong labels: AE-LookSAM is comparable with SAM, and above ESAM, SS-SAM and LookSAM.",
        "4.3, Table 3",
        all_of(
            close(_TABLE_3, "AE-LookSAM", "SAM", 2.0),
            *(larger(_TABLE_3, "AE-LookSAM", other) for other in ("ESAM", "SS-SAM", "LookSAM")),
        ),
        [_TABLE_3],
        "Comparable: within two points.",
    ),
    Claim(
        "A13",
        "Wrong labels: ERM and SS-SAM overfit heavily, AE-SAM and LookSAM less, SAM and AE-LookSAM "
        "not.",
        "4.3, Figures 4, 10, 11",
        all_of(*_a13()),
        ["aesam.figure10"],
        "Overfitting: accuracy of the best epoch minus that of the last one.",
    ),
    Claim(
        "A14",
        "%SAM falls when lambda_1 or lambda_2 rises.",
        "4.4, B.4, Figures 5, 12",
        _a14,
        ["aesam.figure5", "aesam.figure12"],
        "The similar trend of accuracy is left to Figures 6 and 13.",
    ),
    Claim(
        "A15",
        "The squared norm of the full gradient goes to 0.",
        "4.5, Figure 7",
        _a15,
        ["aesam.figure7"],
        "Tested: the last one is less than a tenth of the largest one.",
    ),
    Claim(
        "A16",
        "AE-SAM's training loss converges at a speed comparable to SS-SAM's.",
        "4.5, B.5, Figures 14, 15",
        close("aesam.figure15", "AE-SAM", "SS-SAM", 0.1, "train_loss"),
        ["aesam.figure15"],
        "Comparable: training losses of the last epoch within 0.1.",
    ),
    Claim(
        "A17",
        "LookSAM is sensitive to k; k = 2 is best with wrong labels.",
        "B.2, Table 4",
        all_of(*(larger(_TABLE_4, "LookSAM (k = 2)", f"LookSAM (k = {k})") for k in (3, 4, 5))),
        [_TABLE_4],
    ),
]
