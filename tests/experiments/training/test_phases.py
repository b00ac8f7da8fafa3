"""The change of the method in the middle of a run."""

import jax
import numpy as np
import optax
import pytest

from experiments.parallel.mesh import make_mesh
from experiments.training.loop import train
from experiments.training.phases import method_of_epoch, read_phases
from experiments.training.setup import make_run


def run(config, methods):
    """The state after one epoch of each of the methods."""
    config.update(epochs=len(methods), method=methods[0])
    config.switch = tuple(enumerate(methods))[1:]
    trainer, pipeline = make_run(config, make_mesh(1))
    state, _ = train(trainer, pipeline, trainer.init(jax.random.key(0)))
    return state


def test_a_switch_between_equal_methods_changes_nothing(config):
    # Lookbehind with k = 1 and alpha = 1 is SAM: here with the optimizer inside, there behind.
    config.update(model="dense", epochs=4, train_examples=256)
    sam, lookbehind = "sam:rho=0.1", "lookbehind_sam:k=1,rho=0.1,alpha=1"
    stayed = run(config, [sam] * 4)
    switched = run(config, [sam, lookbehind, sam, "multistep_sam:k=1,rho=0.1"])
    for kept in ("params", "batch_stats"):
        pairs = zip(*(jax.tree.leaves(getattr(s, kept)) for s in (stayed, switched)), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_schedules_go_on_after_a_switch(config):
    config.update(model="dense", epochs=2, train_examples=256, batch_size=128)
    state = run(config, ["ae_sam", "lookbehind_sam:k=3"])
    (count,) = (
        value
        for path, value in optax.tree.get_all_with_path(state.opt_state, "count")
        if getattr(path[-1], "tuple_name", "") == "ScaleByScheduleState"
    )
    assert count == 3 * 4  # three calls in each of four steps


def test_the_methods_of_the_epochs(config):
    config.update(method="sam", epochs=4, switch=((1, "lookbehind_sam:rho=0.05,k=5"), (3, "sam")))
    phases = [(phase.start, str(phase.method)) for phase in read_phases(config)]
    assert phases == [(0, "sam"), (1, "lookbehind_sam:k=5"), (3, "sam")]
    by_epoch = [str(method_of_epoch(config, epoch)) for epoch in range(4)]
    assert by_epoch == ["sam", "lookbehind_sam:k=5", "lookbehind_sam:k=5", "sam"]


@pytest.mark.parametrize(
    "wrong",
    [
        ((0, "sam"),),
        ((4, "sam"),),
        ((2, "sam"), (1, "sgd")),
        ((1, 2),),
        (1, "sam"),
        ((True, "sam"),),
    ],
)
def test_an_invalid_switch_raises(config, wrong):
    config.update(epochs=4, switch=wrong)
    with pytest.raises(ValueError, match=r"switch must be \(epoch, method\) pairs"):
        read_phases(config)


def test_a_switch_between_numbers_of_minibatches_raises(config):
    config.update(switch=((1, "lookbehind_sam:switch_minibatch=true"),))
    with pytest.raises(ValueError, match=r"same number of minibatches .*'none': 1.*true': 2"):
        read_phases(config)
