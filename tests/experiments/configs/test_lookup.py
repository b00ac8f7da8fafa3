"""Config files by name or path, and functions by import path."""

import pytest
from ml_collections import ConfigDict

from experiments.configs.lookup import import_function, load_config, look_up, setups


@pytest.mark.parametrize("name", setups())
def test_a_setup_is_loaded_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(name)
    assert config.method == "none"
    assert config == load_config(str(setups()[name]))


def test_the_part_after_a_colon_is_the_argument_of_get_config():
    assert load_config("cifar:aesam").schedule == "cosine"
    assert load_config("cifar:lookbehind").schedule == "step"


def test_a_file_of_the_users_is_loaded_by_path(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(size='2'):\n"
        "    return ConfigDict({'size': int(size)})\n"
    )
    assert load_config(str(path)) == ConfigDict({"size": 2})
    assert load_config(f"{path}:5") == ConfigDict({"size": 5})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", r"unknown config 'digit' \(did you mean 'digits'\?\); valid ones: cifar, "),
        ("nowhere.py", r"unknown config 'nowhere\.py'; .* Or the path of a file"),
        ("cifar:fast", "unknown recipe 'fast'; valid ones: aesam, lookbehind"),
        ("digits:fast", r"digits\.py takes no recipe after a colon, got 'fast'"),
        (__file__, r"test_lookup\.py has no function get_config"),
    ],
)
def test_a_config_that_cannot_be_loaded_raises(name, message):
    with pytest.raises(ValueError, match=message):
        load_config(name)


def test_an_unknown_name_lists_the_valid_ones():
    assert look_up("thing", "one", {"one": 1}) == 1
    with pytest.raises(ValueError, match=r"^unknown thing 'on' \(.*'one'\?\); valid ones: one, x"):
        look_up("thing", "on", {"one": 1, "x": 2})


@pytest.mark.parametrize("path", ["nowhere:make", ":make", "json:laods"])
def test_an_import_path_that_leads_nowhere_raises(path):
    assert import_function("model", "json:loads")("3") == 3
    with pytest.raises(ValueError, match=f"^model '{path}' is not a module:function: "):
        import_function("model", path)
