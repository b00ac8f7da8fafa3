"""Items: labels derived from parameters, comparisons, metrics derived from several runs."""

import pytest

from experiments.configs import digits
from experiments.results import drawings, metrics
from experiments.results.item import Item, Result, ResultRow, derive, evaluate, reference
from experiments.results.row import Row, method_string
from experiments.results.table import Table


def row(**params):
    return Row({"setting": "digits", **params}, digits.get_config())


def item(**changes):
    found = Item(
        title="an item",
        rows=lambda scale: [],
        seeds={"laptop": 2},
        metrics=[metrics.last("test_accuracy")],
        draw=drawings.dots("test_accuracy"),
    )
    return found._replace(**changes)


def test_a_label_is_the_method_with_the_parameters_that_vary():
    rows = [row(method="sam", rho=0.1), row(method="lookbehind_sam", rho=0.1, k=2, alpha=0.5)]
    assert item().labels(rows) == ["SAM", "Lookbehind-SAM"]
    rows += [row(method="lookbehind_sam", rho=0.1, k=2, alpha="adaptive")]
    rows += [row(method="multistep_sam", average=average) for average in (False, True)]
    assert item().labels(rows) == [
        "SAM",
        "Lookbehind-SAM, alpha = 0.5",
        "Lookbehind-SAM, adaptive alpha",
        "Multistep-SAM",
        "Multistep-SAM, averaged gradients",
    ]


def test_parameters_that_vary_between_panels_only_are_no_part_of_a_label():
    rows = [Row({"setting": name, "method": "sam", "rho": rho}, digits.get_config())
            for name, rho in (("CIFAR-10", 0.05), ("CIFAR-100", 0.1))]  # fmt: skip
    assert item().labels(rows) == ["SAM", "SAM"]
    assert item(panels=()).labels(rows)[0] == "SAM, setting = CIFAR-10, rho = 0.05"


def test_a_figure_leaves_out_the_parameter_on_its_axis_and_may_have_other_names():
    rows = [row(method="sam", rho=rho) for rho in (0.1, 0.2)]
    assert item().labels(rows, without=["rho"]) == ["SAM", "SAM"]
    assert item(unnamed=["rho"]).labels(rows) == ["SAM", "SAM"]
    assert item().labels(rows, name=lambda params: "method")[1] == "method, rho = 0.2"


def test_the_row_to_compare_with_is_found_by_its_parameters_in_the_same_panel():
    rows = [row(method="sam", rho=rho) for rho in (0.1, 0.2)] + [row(method="asam", rho=0.2)]
    same_rho = item(against=lambda p: {"method": "sam", "rho": p["rho"]})
    assert reference(rows, same_rho, rows[2].params) == 1
    assert reference(rows, item(), rows[2].params) is None
    for missing in {"method": "sam", "rho": 0.3}, {"method": "sam"}:
        with pytest.raises(LookupError, match=r"rows of .* have the parameters"):
            reference(rows, item(against=lambda p: missing), rows[2].params)


def result_row(params, accuracies, trained=True):
    values = [
        {"metric": "test_accuracy", "seed": seed, "value": value}
        for seed, value in enumerate(accuracies)
    ]
    return ResultRow(row(**params), Table(values), trained=trained)


AGAINST_SGD = item(against=lambda p: None if p["method"] == "none" else {"method": "none"})


def evaluated(*rows, item=AGAINST_SGD):
    return evaluate(derive(Result("paper.table", item, "laptop", "2000-01-01", rows))).rows


def test_a_row_has_the_paired_difference_to_the_row_it_is_compared_with():
    sgd, sam = evaluated(
        result_row({"method": "none"}, [1.0, 2.0, 4.0]),
        result_row({"method": "sam"}, [2.0, 4.0, 7.0]),
    )
    assert (sgd.difference, sgd.against) == (None, None)
    assert sam.against == "SGD"
    assert (sam.difference.n, sam.difference.mean) == (3, 2.0)


@pytest.mark.parametrize("trained", [(False, True), (True, False)])
def test_a_row_that_did_not_train_is_compared_with_nothing(trained):
    rows = [
        result_row({"method": method}, [1.0, 2.0], did)
        for method, did in zip(("none", "sam"), trained, strict=True)
    ]
    assert evaluated(*rows)[1].difference is None


def test_derived_metrics_join_the_rows_with_their_parameters():
    def double(table):
        for entry in table.where(method="sam"):
            yield {**entry, "metric": "double", "value": 2 * entry["value"]}

    sgd, sam = evaluated(
        result_row({"method": "none"}, [1.0, 2.0]),
        result_row({"method": "sam", "rho": 0.1}, [3.0, 4.0]),
        item=AGAINST_SGD._replace(derive=double),
    )
    assert sam.table.by_seed("double") == {0: 6.0, 1: 8.0}
    assert sgd.table.by_seed("double") == {}
    assert "method" not in sam.table.rows[-1]


def test_panels_are_named_by_their_parameters():
    result = Result("n", item(panels=("method", "setting")), "laptop", "", [
        result_row({"method": "lookbehind_sam"}, []), result_row({"method": "sam"}, [])
    ])  # fmt: skip
    assert list(result.panels) == ["Lookbehind-SAM, digits", "SAM, digits"]


def test_a_method_string_has_its_arguments_in_the_order_of_the_table():
    text = method_string("lookbehind_sam", {"alpha": 0.5, "rho": 0.1, "k": 2})
    assert text == "lookbehind_sam:k=2,rho=0.1,alpha=0.5"


def test_with_a_margin_p_values_are_corrected_within_each_panel_and_verdicts_given():
    compared = AGAINST_SGD._replace(margin=1.0)
    values = {"sam": [2.0, 2.1, 2.2], "asam": [0.2, -0.3, 0.2], "looksam": [-3.0, -3.3, -2.9]}
    rows = [
        result_row({"setting": setting, "method": method}, accuracies)
        for setting, methods in {"a": ["sam", "asam", "looksam"], "b": ["sam"]}.items()
        for method, accuracies in {"none": [0.0, 0.1, 0.0], **values}.items()
        if method in ["none", *methods]
    ]
    _, sam, asam, looksam, _, alone = evaluated(*rows, item=compared)
    assert [each.verdict for each in (sam, asam, looksam)] == ["no worse", "no worse", "worse"]
    assert alone.holm == alone.difference.p  # a family of one
    smallest, middle, largest = sorted((sam, asam, looksam), key=lambda each: each.difference.p)
    assert smallest.holm == pytest.approx(3 * smallest.difference.p)
    assert middle.holm == pytest.approx(2 * middle.difference.p)
    assert largest.holm == pytest.approx(max(largest.difference.p, middle.holm))
