"""The choice of settings: equal budgets, held-out data, fresh seeds, resumption."""

import pytest

from experiments.results import search
from experiments.results.search import Candidates, Choice, Trial, choose
from experiments.training import run_dir


@pytest.fixture
def small(config):
    config.update(epochs=1, train_examples=256, label_noise=0.2)
    return config


RATES = (0.001, 0.01, 0.1, 0.3)
SGD, SAM = Candidates("none", {"learning_rate": RATES}), Candidates("sam", {"rho": RATES})


def test_the_best_setting_on_held_out_images_is_chosen_and_a_second_call_trains_nothing(
    small, tmp_path, monkeypatch
):
    (choice,) = choose(small, [SGD], tmp_path / "runs")
    first, *others = choice.trials
    assert choice.setting == first.setting
    assert set(first.scores) == set(search.SEEDS)  # the best quarter: one of four
    saved = [run_dir.read_config(path) for path in (tmp_path / "runs").glob("digits*")]
    assert {(c.seed, c.data_seed) for c in saved} == {(seed, seed) for seed in search.SEEDS}
    assert [set(trial.scores) for trial in others] == [set(search.SEEDS[:1])] * 3
    assert first.scores[search.SEEDS[0]] >= max(t.scores[search.SEEDS[0]] for t in others)
    monkeypatch.setattr("experiments.train.run", None)
    assert choose(small, [SGD], tmp_path / "runs") == [choice]
    search.write(tmp_path / "chosen.json", [choice])
    assert search.read(tmp_path / "chosen.json") == [choice]


def test_every_method_must_have_the_same_budget(small, tmp_path):
    fewer = Candidates("sam", {"rho": RATES[:2]})
    with pytest.raises(ValueError, match=r"as many settings.*'none': 4, 'sam': 2"):
        choose(small, [SGD, fewer], tmp_path)


def test_keys_of_the_config_and_arguments_of_the_method():
    choice = Choice("lookbehind_sam", {"k": 2, "alpha": 0.5}, {"learning_rate": 0.1, "rho": 0.2})
    assert choice.changes == {
        "method": "lookbehind_sam:k=2,rho=0.2,alpha=0.5",
        "learning_rate": 0.1,
    }
    assert choice.params["rho"] == 0.2


def test_a_choice_at_the_edge_of_its_grid_says_so():
    trials = [
        Trial({"rho": rho}, {0: score}) for rho, score in zip(RATES, (4, 3, 2, 1), strict=True)
    ]
    assert search._choice(SAM, trials[:1], trials).at_edge == ["rho"]
    assert search._choice(SAM, trials[1:2], trials).at_edge == []
