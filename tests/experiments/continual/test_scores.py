"""Scores of accuracy matrices that were worked by hand."""

import numpy as np
import pytest

from experiments.continual.scores import scores


def test_scores_of_a_matrix_worked_by_hand():
    matrix = [[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.5, 0.6, 1.0]]
    assert scores(matrix) == pytest.approx(
        {
            "average_accuracy": (0.5 + 0.6 + 1.0) / 3,
            "forgetting": ((0.9 - 0.5) + (0.8 - 0.6)) / 2,
            "backward_transfer": ((0.5 - 0.9) + (0.6 - 0.8) + 0) / 3,
            "learning_accuracy": (0.9 + 0.8 + 1.0) / 3,
        }
    )


def test_forgetting_counts_what_a_later_task_had_improved():
    # Task 2 improves task 1 from 0.6 to 0.8 before task 3 brings it down to 0.7.
    found = scores([[0.6, 0.2, 0.2], [0.8, 0.9, 0.2], [0.7, 0.9, 0.9]])
    assert found["forgetting"] == pytest.approx(((0.8 - 0.7) + 0) / 2)
    assert found["backward_transfer"] == pytest.approx(((0.7 - 0.6) + 0 + 0) / 3)


def test_forgetting_is_negative_if_the_last_task_improves_the_old_ones():
    assert scores([[0.5, 0.2], [0.7, 0.9]])["forgetting"] == pytest.approx(-0.2)


def test_both_formulas_agree_if_nothing_improves():
    rng = np.random.default_rng(0)
    drops = rng.uniform(size=(6, 6)).cumsum(axis=0)
    matrix = np.tril(1 - drops / drops.max())
    found = scores(matrix)
    assert found["forgetting"] == pytest.approx(-found["backward_transfer"] * 6 / 5)


def test_one_task_forgets_nothing():
    assert scores([[0.9]])["forgetting"] == 0


@pytest.mark.parametrize("matrix", [[], [0.5], [[0.5, 0.5]]])
def test_a_matrix_that_is_not_square_raises(matrix):
    with pytest.raises(ValueError, match="accuracy_matrix"):
        scores(matrix)
