"""Default workdirs, and which configs are those of the same run."""

import json

import pytest

from experiments.training import run_dir


def workdir(config, **changes):
    config = config.copy_and_resolve_references()
    config.update(changes)
    return run_dir.default_workdir(config)


def test_the_default_workdir_names_dataset_model_method_and_seed(config):
    path = workdir(config, method="lookbehind_sam:k=5,alpha=0.5", seed=3)
    assert path.parent.name == "runs"
    assert path.name.startswith("digits-tiny-lookbehind_sam-k=5-alpha=0.5-seed3-")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "sam"},
        {"method": "sam:rho=0.1"},
        {"seed": 1},
        {"epochs": 3},
        {"learning_rate": 0.1},
        {"label_noise": 0.1},
        {"optimizer": "adam"},
        {"switch": ((1, "sam"),)},
    ],
)
def test_another_config_has_another_default_workdir(config, changes):
    assert workdir(config, **changes) != workdir(config)


@pytest.mark.parametrize(
    "changes",
    [{"method": "sgd"}, {"data_dir": "elsewhere"}, {"workers": 0}, {"eval_batch_size": 7}],
)
def test_the_same_run_has_the_same_default_workdir(config, changes):
    assert workdir(config, **changes) == workdir(config)


@pytest.mark.parametrize("switch", [(5,), ((5,),), ((5, 3),)])
def test_a_switch_that_is_yet_to_be_rejected_has_a_name(config, switch):
    assert workdir(config, switch=switch) != workdir(config)


def test_a_run_resumes_with_a_key_that_is_newer_than_it(config, tmp_path):
    run_dir.write_config(tmp_path, config)
    path = tmp_path / run_dir.CONFIG
    saved = json.loads(path.read_text())
    del saved["label_smoothing"]
    path.write_text(json.dumps(saved))
    run_dir.check_config(tmp_path, config)
    config.label_smoothing = 0.1
    with pytest.raises(ValueError, match=r"label_smoothing: 0\.0 in the workdir, 0\.1 requested"):
        run_dir.check_config(tmp_path, config)


def test_a_run_resumes_with_its_method_in_other_words(config, tmp_path):
    config.update(method="lookbehind_sam:alpha=0.5,k=5", switch=((1, "sam:rho=0.05"),))
    run_dir.write_config(tmp_path, config)
    config.update(method="lookbehind_sam:k=5,rho=0.05,alpha=0.50", switch=((1, "sam"),))
    run_dir.check_config(tmp_path, config)
    config.method = "lookbehind_sam:k=4,alpha=0.5"
    with pytest.raises(ValueError, match=r"method: 'lookbehind_sam:k=5,alpha=0\.5' in the workdir"):
        run_dir.check_config(tmp_path, config)
