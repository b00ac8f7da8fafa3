import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training.checkpoints import kept_epochs
from experiments.training.checkpoints.checksums import check_arrays, of_arrays

STATE = {
    "weights": {"w": jnp.arange(6.0).reshape(2, 3), "half": jnp.ones(3, jnp.bfloat16)},
    "rest": {"count": jnp.int32(7), "on": jnp.array(True), "key": jax.random.key(3)},
}


def changed(part, name, value):
    return STATE | {part: STATE[part] | {name: value}}


def test_the_same_numbers_have_the_same_checksums():
    copy = jax.tree.map(jnp.copy, STATE)
    check_arrays(copy, of_arrays(STATE))
    on_the_host = {"weights": jax.tree.map(np.asarray, STATE["weights"])}
    check_arrays(on_the_host, of_arrays(STATE))  # a part alone, and as NumPy has it


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("weights", "w", STATE["weights"]["w"].at[1, 2].add(1e-6)),
        ("weights", "w", STATE["weights"]["w"].reshape(3, 2).T),
        ("weights", "half", STATE["weights"]["half"].at[0].set(1.01)),
        ("rest", "count", jnp.int32(8)),
        ("rest", "on", jnp.array(False)),
        ("rest", "key", jax.random.key(4)),
    ],
)
def test_other_numbers_raise(part, name, value):
    with pytest.raises(ValueError, match=f"the arrays of {part} are not those"):
        check_arrays(changed(part, name, value), of_arrays(STATE))


def test_unreadable_checkpoints_are_not_counted(tmp_path):
    for name in ("2", "10", "unreadable-11"):
        (tmp_path / name / "state").mkdir(parents=True)
    assert kept_epochs(tmp_path) == [2, 10]
