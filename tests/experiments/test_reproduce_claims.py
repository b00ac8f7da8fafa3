"""Verdicts on claims from results."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments import recipes
from experiments.recipes.claims import CLAIMS
from experiments.recipes.claims.claim import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    close,
    decided,
    in_range,
    larger,
    verdict,
)


@pytest.fixture
def evidence(tmp_path):
    """Results of one recipe with two rows and five seeds."""

    def cell(row, values):
        found = {"values": values, "seeds": list(range(len(values)))}
        return {"row": row, "column": "bed", "statistics": {"test_accuracy": found}}

    cells = [cell("SAM", [80.0, 81.0, 79.0]), cell("ours", [82.0, 83.1, 80.9])]
    (tmp_path / "paper.table1.json").write_text(json.dumps({"cells": cells}))
    return Evidence(tmp_path)


def test_a_difference_with_its_interval_above_zero_holds(evidence):
    (finding,) = larger("paper.table1", "ours", "SAM")(evidence)
    differences = np.array([2.0, 2.1, 1.9])
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert finding.interval == pytest.approx((expected.low, expected.high))
    assert finding.effect == pytest.approx(2.0)
    assert verdict([finding]) == HOLDS


def test_the_opposite_difference_does_not_hold(evidence):
    findings = list(larger("paper.table1", "SAM", "ours")(evidence))
    assert verdict(findings) == FAILS


def test_one_failed_test_rejects_a_claim_and_one_undecided_leaves_it_open():
    holds, fails = decided("", [1.0, 1.1, 0.9]), decided("", [-1.0, -1.1, -0.9])
    undecided = decided("", [1.0, -1.0, 0.5])
    assert verdict([holds, holds]) == HOLDS
    assert verdict([holds, undecided]) == UNDECIDED
    assert verdict([holds, undecided, fails]) == FAILS


def test_one_seed_decides_nothing():
    assert decided("", [5.0]).holds is None


def test_equal_values_of_two_seeds_decide_nothing_and_of_three_do():
    assert decided("", [5.0, 5.0]).holds is None
    assert decided("", [5.0, 5.0, 5.0]).holds is True


def test_missing_results_leave_a_claim_undecided(evidence):
    assert list(larger("paper.table2", "ours", "SAM")(evidence)) == []
    assert verdict([]) == UNDECIDED


def test_equivalence_needs_the_interval_within_the_margin(evidence):
    (near,) = close("paper.table1", "ours", "SAM", 3.0)(evidence)
    (far,) = close("paper.table1", "ours", "SAM", 1.0)(evidence)
    assert (near.holds, far.holds) == (True, False)


def test_range_of_a_mean(evidence):
    (inside,) = in_range("paper.table1", "SAM", "test_accuracy", 70, 90)(evidence)
    (outside,) = in_range("paper.table1", "SAM", "test_accuracy", 90, 95)(evidence)
    assert (inside.holds, outside.holds) == (True, False)


def test_all_forty_claims_are_there_and_name_known_recipes():
    ids = [claim.id for claims in CLAIMS.values() for claim in claims]
    assert ids == [f"L{n}" for n in range(1, 24)] + [f"A{n}" for n in range(1, 18)]
    known = set(recipes.names())
    for claims in CLAIMS.values():
        for claim in claims:
            assert set(claim.recipes) <= known


def test_all_claims_can_be_tested_without_results(tmp_path):
    evidence = Evidence(tmp_path)
    for claims in CLAIMS.values():
        for claim in claims:
            assert verdict(list(claim.test(evidence))) == UNDECIDED
