import numpy as np

from experiments.reporting.tables import Result, markdown_table


def row(applied):
    curves = {"test_accuracy": np.array([[0.5], [0.7]]), "train_loss": np.array([[1.0], [2.0]])}
    table = markdown_table([Result("SAM", curves, np.array(applied), 1.5, 2.0)])
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]


def test_a_row_has_mean_and_deviation_over_the_seeds():
    assert row([0.5, 0.6]) == ["SAM", "60.00 ± 14.14", "1.500", "55.0 ± 7.1", "1.50", "2.0"]


def test_a_share_that_no_seed_changes_has_no_deviation():
    assert row([1.0, 1.0])[3] == "100"
    assert row([0.0, 0.0])[3] == "0"
