"""Statistics over seeds against scipy, statsmodels' definitions and numbers worked by hand."""

import numpy as np
import pytest
from scipy import stats as reference

from experiments.results import stats


def test_mean_and_sample_deviation_over_seeds():
    found = stats.summary([1.0, 2.0, 6.0])
    assert (found.n, found.mean) == (3, 3.0)
    assert found.std == pytest.approx(np.sqrt(7.0))
    curves = stats.summary([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_allclose(curves.mean, [2.0, 4.0])
    np.testing.assert_allclose(curves.std, [np.sqrt(2), np.sqrt(8)])


def test_one_seed_has_no_deviation_and_no_interval():
    assert stats.summary([1.0]).std is None
    assert stats.paired([0.5]) == (1, 0.5, None, None)
    assert stats.half_interval([1.0]) is None
    assert stats.not_worse([1.0], 1.0) is None


def test_the_paired_interval_is_students_with_n_minus_1_degrees_of_freedom():
    mine, other = np.array([1.0, 3.0, 2.0, 5.0]), np.array([0.5, 1.0, 2.5, 3.0])
    found = stats.paired(mine - other)
    error = np.std(mine - other, ddof=1) / 2
    expected = reference.t.interval(0.95, 3, (mine - other).mean(), error)
    assert found.interval == pytest.approx(expected)
    assert found.p == pytest.approx(reference.ttest_rel(mine, other).pvalue)


@pytest.mark.parametrize("differences", [[1 / 3, 0.1 + 0.7 / 3], [5.0, 5.0, 5.0], [0.0, 0.0]])
def test_differences_equal_up_to_rounding_have_no_interval(differences):
    found = stats.paired(differences)
    assert (found.interval, found.p) == (None, None)
    assert found.mean == pytest.approx(differences[0])


def test_a_comparison_pairs_the_seeds_that_both_rows_have():
    found = stats.compare({0: 1.0, 1: 2.0, 3: 9.0}, {1: 1.5, 0: 0.0, 2: 7.0})
    assert found.n == 2
    assert found.mean == pytest.approx(((1.0 - 0.0) + (2.0 - 1.5)) / 2)
    assert stats.compare({0: 1.0}, {1: 1.0}) is None


def test_half_an_interval_of_a_mean():
    values = [1.0, 2.0, 4.0]
    low, high = reference.ttest_1samp(values, 0).confidence_interval(0.95)
    assert stats.half_interval(values) == pytest.approx((high - low) / 2)


def test_holm_multiplies_the_smallest_p_value_most_and_keeps_the_order():
    # Worked by hand: 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to the one before), 0.5 * 1.
    assert stats.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_holms_rejections_are_those_of_the_step_down_procedure():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.beta(0.3, 1, 6)
        rejected = np.zeros(6, bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (6 - step):
                break
            rejected[place] = True
        np.testing.assert_array_equal(np.array(stats.holm(p)) <= 0.05, rejected)


def test_not_worse_needs_the_one_sided_interval_above_minus_the_margin():
    differences = np.array([-0.3, 0.1, -0.2, 0.0])
    test = reference.ttest_1samp(differences, -0.5, alternative="greater")
    assert (test.pvalue < 0.05) == stats.not_worse(differences, 0.5)
    assert stats.not_worse(differences, 0.5) is True
    assert stats.not_worse(differences, 0.2) is False
    with pytest.raises(ValueError, match=r"margin must be > 0, got 0"):
        stats.not_worse(differences, 0)


def test_a_row_has_trained_if_its_mean_reaches_the_threshold():
    assert stats.trained([40.0, 60.0], 50.0)
    assert not stats.trained([40.0, 59.0], 50.0)
    assert stats.trained([0.0], None)
    assert stats.trained([], 50.0)


@pytest.mark.parametrize(
    ("differences", "p", "expected"),
    [
        ([0.1, -0.1, 0.2], 0.5, "no worse"),
        ([-0.4, -0.5, -0.6], 0.01, "no worse"),  # worse, but by less than the margin
        ([-3.0, -3.1, -2.9], 0.001, "worse"),
        ([-3.0, -3.1, -2.9], 0.06, "undecided"),  # after a correction for many comparisons
        ([-3.0, 2.0, -1.0], 0.7, "undecided"),
        ([-3.0, 9.0, -1.0], 0.01, "undecided"),  # a small p-value of a higher mean
        ([], None, "undecided"),
        ([-5.0], None, "undecided"),
    ],
)
def test_a_verdict_needs_an_interval_or_a_corrected_p_value(differences, p, expected):
    mine = {seed: 50.0 + value for seed, value in enumerate(differences)}
    other = dict.fromkeys(range(3), 50.0)
    assert stats.verdict(mine, other, 1.0, p) == expected
