"""Statistics over seeds against scipy and numbers worked by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments.recipes.statistics import compare, paired, statistic


def test_mean_and_sample_deviation_over_seeds():
    found = statistic({0: 1.0, 1: 2.0, 2: 6.0})
    assert found.n == 3
    assert found.mean == 3.0
    assert found.std == pytest.approx(np.sqrt(7.0))


def test_one_seed_has_no_deviation_and_no_interval():
    assert statistic({4: 1.0}).std is None
    comparison = paired(np.array([0.5]))
    assert (comparison.difference, comparison.interval, comparison.p) == (0.5, None, None)


def test_curves_are_cut_to_the_shortest():
    found = statistic({0: np.array([1.0, 2.0, 3.0]), 1: np.array([3.0, 4.0])})
    assert found.mean.tolist() == [2.0, 3.0]


def test_paired_interval_and_p_value_match_scipy():
    mine, other = np.array([1.0, 3.0, 2.0, 5.0]), np.array([0.5, 1.0, 2.5, 3.0])
    comparison = paired(mine - other)
    expected = stats.ttest_rel(mine, other)
    interval = expected.confidence_interval(0.95)
    assert comparison.p == pytest.approx(expected.pvalue)
    assert comparison.interval == pytest.approx((interval.low, interval.high))


def test_comparison_pairs_the_seeds_that_both_have():
    mine, other = statistic({0: 1.0, 1: 2.0, 3: 9.0}), statistic({1: 1.5, 0: 0.0, 2: 7.0})
    comparison = compare(mine, other, "SAM")
    assert comparison.n == 2
    assert comparison.difference == pytest.approx(np.mean([1.0 - 0.0, 2.0 - 1.5]))
    assert comparison.against == "SAM"


def test_no_common_seed_gives_no_comparison():
    assert compare(statistic({0: 1.0}), statistic({1: 1.0}), "SAM") is None


@pytest.mark.parametrize("differences", [[1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0], [-2.0] * 5])
def test_equal_differences_have_no_interval(differences):
    found = paired(np.array(differences))
    assert (found.difference, found.interval, found.p) == (differences[0], None, None)


def test_differences_that_are_equal_up_to_rounding_have_no_interval():
    assert 0.1 + 0.2 != 0.3
    assert paired(np.array([0.1 + 0.2, 0.3])).interval is None
