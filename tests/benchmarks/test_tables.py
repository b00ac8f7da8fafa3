"""Tables of measurements: Markdown and JSON of the same rows, and pages that contain them."""

import json

from benchmarks.tables import Table, update_page, write_tables

ROWS = [{"model": "ResNet", "ms": 12.3456, "k": 2}, {"model": "ViT", "ms": 1.5, "note": "1.50"}]


def test_json_keeps_full_precision_and_markdown_four_digits(tmp_path):
    write_tables(tmp_path / "new", "A laptop.", {"times": Table("Times", ROWS, "A note.")})
    record = json.loads((tmp_path / "new" / "results.json").read_text())
    assert record["preamble"] == "A laptop."
    assert record["tables"]["times"]["rows"] == ROWS
    text = (tmp_path / "new" / "results.md").read_text()
    assert text.startswith("A laptop.\n\n**Times**\n\n| model")
    assert "12.35" in text
    assert text.endswith("A note.\n")


def test_parts_of_a_page_are_replaced_between_their_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a <!-- begin: x -->old<!-- end: x --> b")
    update_page(page, {"x": "new", "unknown": "ignored"})
    assert page.read_text() == "a <!-- begin: x -->\nnew\n<!-- end: x --> b"
