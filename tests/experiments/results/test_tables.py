"""Markdown tables, and how numbers are written in them."""

import pytest

from experiments.results import tables
from experiments.results.markdown import markdown_table
from experiments.results.stats import paired

ROWS = [{"model": "ResNet", "ms": 12.3456, "k": 2}, {"model": "ViT", "ms": 1.5, "note": "1.50"}]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_numbers_are_rounded_and_columns_of_text_are_left_aligned():
    heading, rule, *rows = markdown_table(ROWS).splitlines()
    assert cells(heading) == ["model", "ms", "k", "note"]
    assert [cell.endswith(":") for cell in cells(rule)] == [False, True, True, True]
    assert [cells(row) for row in rows] == [
        ["ResNet", "12.35", "2", ""],
        ["ViT", "1.5", "", "1.50"],
    ]


def test_mean_and_deviation_or_the_number_that_all_seeds_share():
    assert tables.mean_and_std([50.0, 70.0], 2) == "60.00 ± 14.14"
    assert tables.mean_and_std([100.0, 100.0], 1) == "100"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 3.0], "2.0 ± 1.4"),
        ([0.123, 0.125], "0.1240 ± 0.0014"),
        ([1234.0, 1434.0], "1334 ± 141"),
        ([0.5], "0.5"),
        ([float("nan"), 1.0], "not finite"),
    ],
)
def test_two_significant_digits_of_the_deviation(values, text):
    assert tables.two_digits(values) == text


def test_a_difference_has_its_sign_and_interval():
    # 15 ± 12.706 * 5, Student's t with one degree of freedom
    assert tables.difference(paired([10.0, 20.0]), 2) == "+15.00 [-48.53, +78.53]"
    assert tables.difference(paired([-1.0]), 1) == "-1.0 [-]"
