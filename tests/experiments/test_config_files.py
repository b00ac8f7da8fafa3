"""Config files: by name or path, and those that cannot be used."""

import pytest

from experiments.configs.lookup import load_config, setups


@pytest.mark.parametrize("name", setups())
def test_a_setup_is_found_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(name)
    assert config.method == "none"
    assert config == load_config(str(setups()[name]))


def test_a_recipe_is_the_argument_of_get_config():
    assert load_config("cifar:aesam").schedule == "cosine"
    assert load_config("cifar:lookbehind").schedule == "step"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", ["SyntaxError"]),
        ("import nowhere", ["ModuleNotFoundError", "nowhere"]),
        ("1 / 0", ["ZeroDivisionError"]),
        ("x = 1", ["no function get_config"]),
        ("get_config = 3", ["no function get_config"]),
        ("def get_config(): raise RuntimeError('first\\nsecond')", ["RuntimeError: first second"]),
        ("def get_config(): pass", ["must return a ConfigDict", "None"]),
        ("def get_config(): return {}", ["must return a ConfigDict", "{}"]),
        ("def get_config(recipe): return recipe", ["TypeError", "recipe"]),
        ("\0", ["null"]),
        ("  x = 1\n y = 2", ["IndentationError"]),
        ("import sys; sys.exit(3)", ["SystemExit", "3"]),
        ("def get_config(): raise SystemExit('bye')", ["SystemExit", "bye"]),
        ("def get_config(): return get_config()", ["RecursionError"]),
        ("x = [" * 1000, ["SyntaxError"]),
        ("", ["no function get_config"]),
        ("seed 1", ["SyntaxError"]),
        ("def get_config(a, b): pass", ["TypeError", "2 required"]),
        ("raise KeyError('seed')", ["KeyError", "seed"]),
        ("raise ValueError('no\\nway')", ["no"]),
    ],
)
def test_a_file_that_cannot_be_used_raises_one_line_with_its_path(tmp_path, text, words):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        load_config(str(path))
    message = str(error.value)
    assert all(word in message for word in [str(path), *words]), message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["nowhere.py", "."])
def test_a_path_without_a_file_raises_with_the_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((OSError, ValueError), match=name.replace(".", r"\.")):
        load_config(name)
