"""The search of the study of rho: the proposal, the two grids, and the held-out text."""

import numpy as np

from experiments.configs import digits
from experiments.configs.base import with_changes
from experiments.data.text.bytes import make_windows, read_text
from experiments.papers.radius import propose, settings
from experiments.results.search import held_out_accuracy


def test_a_proposal_and_its_reasons_are_read_as_written(tmp_path):
    config = with_changes(
        digits.get_config(),
        {"model": "cnn1_8_16", "train_examples": 256, "batch_size": 64, "validation": 0.25},
    )
    found = propose.propose(config, (1, 2))
    propose.write(tmp_path / "proposed.json", found)
    assert propose.read(tmp_path / "proposed.json") == found
    each = [seed["rho"] for seed in found.seeds.values()]
    assert each[0] != each[1]  # their own weights and data
    np.testing.assert_allclose(found.rho, np.sqrt(each[0] * each[1]), rtol=0.05)
    for seed in found.seeds.values():
        assert seed["radii"][0] <= seed["rho"] <= seed["radii"][-1]


def test_the_text_of_the_search_ends_before_the_test_text(tmp_path):
    config = settings.search_config("language", None, tmp_path)
    whole = make_windows(read_text(None), config.length)
    searched = make_windows(read_text(config.data_dir), config.length)
    last = searched.test[-1][:-1].astype(np.uint8).tobytes()
    assert last in whole.train[:, :-1].astype(np.uint8).tobytes()
    assert last not in whole.test[:, :-1].astype(np.uint8).tobytes()


def test_the_short_grid_is_one_two_and_four_times_the_proposal(tmp_path, monkeypatch):
    task = settings.Task("tiny", digits.get_config, 0.2, held_out_accuracy, len)
    monkeypatch.setitem(settings.TASKS, "digits", task)
    monkeypatch.setattr(propose, "propose", lambda config, seeds: propose.Proposal(0.3, {}))
    monkeypatch.setattr(propose, "write", lambda file, proposal: None)
    grids = []
    monkeypatch.setattr(
        settings, "choose", lambda config, candidates, runs, **_: grids.append(candidates[0].grid)
    )
    files = [file.name for file, _ in settings.search("digits", None, tmp_path)]
    assert files == ["chosen_digits_grid.json", "chosen_digits_few.json"]
    np.testing.assert_allclose(grids[0]["rho"], 0.0125 * 2.0 ** np.arange(8))
    np.testing.assert_allclose(grids[1]["rho"], [0.3, 0.6, 1.2])
