"""The command that chooses settings: its names, and what it writes."""

import pytest

from experiments.papers import search
from experiments.results.search import Choice, Trial, read


def test_an_unknown_comparison_lists_the_valid_names(tmp_path):
    with pytest.raises(SystemExit, match=r"cifar\.noisi.*cifar\.noisy"):
        search.main(["cifar.noisi", f"--runs={tmp_path}"])


def test_choices_are_written_as_they_are_made(tmp_path, monkeypatch):
    made = [Choice("sam", {}, {"rho": 0.1}, ["rho"], [Trial({"rho": 0.1}, {1000: 0.5})])]

    def interrupted(data_dir, runs):
        yield tmp_path / f"{data_dir}.json", made
        raise ValueError(f"no data in {runs}")

    monkeypatch.setattr(search, "SEARCHES", {"mine": interrupted})
    with pytest.raises(SystemExit, match="no data in"):
        search.main(["mine", "--data_dir=here", f"--runs={tmp_path}"])
    assert read(tmp_path / "here.json") == made
