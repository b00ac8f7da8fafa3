"""Files are replaced as a whole, or not at all."""

import pytest

from experiments.storage import disk


def test_the_new_content_replaces_the_old_one(tmp_path):
    path = tmp_path / "file.txt"
    for text in ("first", "second, longer"):
        disk.write_text(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def fill_the_disk(path):
    with disk.replacing(path) as draft:
        draft.write_text("half of the new")
        raise OSError(28, "No space left on device")


def test_after_an_error_the_old_content_is_there_and_no_draft(tmp_path):
    path = tmp_path / "file.txt"
    disk.write_text(path, "old")
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        fill_the_disk(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
