"""The tidy table: selection, groups, curves over seeds, and its short form for JSON."""

import json

import numpy as np
import pytest

from experiments.results.table import Table, pack, unpack


def accuracy(seed, value, **columns):
    return {"metric": "accuracy", "seed": seed, "value": value, **columns}


def test_a_column_that_a_row_lacks_counts_as_none():
    table = Table([accuracy(0, 1.0, method="sam"), accuracy(0, 2.0, method="sam", k=2)])
    assert [row["value"] for row in table.where(method="sam", k=None)] == [1.0]
    assert [row["value"] for row in table.where(k=2)] == [2.0]
    assert len(table.having("k")) == 1


def test_groups_and_distinct_values_are_in_order_of_appearance():
    table = Table([accuracy(0, 1.0, k=5), accuracy(0, 2.0, k=2), accuracy(1, 3.0, k=5)])
    assert table.distinct("k") == [5, 2]
    groups = table.group("k")
    assert list(groups) == [(5,), (2,)]
    assert groups[5,].by_seed("accuracy") == {0: 1.0, 1: 3.0}


def test_two_values_for_a_seed_are_an_error():
    table = Table([accuracy(0, 1.0, k=5), accuracy(0, 2.0, k=2)])
    with pytest.raises(LookupError, match="accuracy has several values for seed 0"):
        table.by_seed("accuracy")
    assert table.summary("accuracy", k=2).mean == 2.0
    assert table.summary("loss") is None


def test_a_curve_has_the_coordinates_that_all_seeds_have():
    table = Table(
        accuracy(seed, 10 * seed + epoch, epoch=epoch)
        for seed, epochs in ((0, (2, 1, 3)), (1, (1, 2)))
        for epoch in epochs
    )
    curve = table.over("epoch", "accuracy")
    assert (curve.x.tolist(), curve.seeds) == ([1, 2], (0, 1))
    np.testing.assert_array_equal(curve.values, [[1, 2], [11, 12]])
    np.testing.assert_array_equal(curve.summary.mean, [6, 7])
    with pytest.raises(LookupError, match="no loss over epoch"):
        table.over("epoch", "loss")


def test_a_pivot_has_means_and_nan_where_there_is_nothing():
    table = Table([accuracy(0, 1.0, k=5, alpha=0.5), accuracy(1, 3.0, k=5, alpha=0.5)])
    table += Table([accuracy(0, 4.0, k=2, alpha=0.2), accuracy(0, 9.0, k=2)])
    alphas, ks, means = table.pivot("alpha", "k", "accuracy")
    assert (alphas, ks) == ([0.2, 0.5], [2, 5])
    np.testing.assert_array_equal(means, [[4.0, np.nan], [np.nan, 2.0]])


def test_the_short_form_for_json_is_the_same_table():
    table = Table(
        [accuracy(0, 1.0), accuracy(1, 2.0)]
        + [{"metric": "loss", "seed": 0, "epoch": e, "value": 1 / e} for e in (1, 2)]
    )
    packed = json.loads(json.dumps(pack(table)))
    assert packed["loss"] == {"seed": [0, 0], "epoch": [1, 2], "value": [1.0, 0.5]}
    assert unpack(packed).rows == table.rows
