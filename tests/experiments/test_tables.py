"""Tables: Markdown and JSON of the same rows, and pages that contain them."""

import json

from experiments.reporting.tables import Table, mean_and_std, update_page, write_tables

ROWS = [{"model": "ResNet", "ms": 12.3456, "k": 2}, {"model": "ViT", "ms": 1.5, "note": "1.50"}]


def test_cells_are_rounded_and_columns_of_text_are_left_aligned():
    title, header, rule, *rows, note = [
        line for line in Table("Times", ROWS, "A note.").markdown().splitlines() if line
    ]
    assert (title, note) == ("**Times**", "A note.")
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["model", "ms", "k", "note"]
    assert [cell.endswith(":") for cell in rule.strip("|").split("|")] == [False, True, True, True]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells == [["ResNet", "12.35", "2", ""], ["ViT", "1.5", "", "1.50"]]


def test_json_keeps_full_precision(tmp_path):
    write_tables(tmp_path / "new", "A laptop.", {"times": Table("Times", ROWS)})
    record = json.loads((tmp_path / "new" / "results.json").read_text())
    assert record["preamble"] == "A laptop."
    assert record["tables"]["times"]["rows"] == ROWS
    assert (tmp_path / "new" / "results.md").read_text().startswith("A laptop.\n\n**Times**")


def test_parts_of_a_page_are_replaced_between_their_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a <!-- begin: x -->old<!-- end: x --> b")
    update_page(page, {"x": "new", "unknown": "ignored"})
    assert page.read_text() == "a <!-- begin: x -->\nnew\n<!-- end: x --> b"


def test_a_number_that_all_seeds_share_has_no_deviation():
    assert mean_and_std([100.0, 100.0], 1) == "100"
