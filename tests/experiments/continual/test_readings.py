"""The ablation of Lookbehind-C-MAML's readings."""

import pytest

from experiments.ablations import lookbehind_cmaml_readings as ablation
from experiments.continual.learners import learner


def test_every_reading_is_a_learner_of_its_own():
    texts = [",".join(filter(None, ["k=2", reading])) for reading in ablation.READINGS]
    learners = [learner(f"lookbehind_cmaml:{text}") for text in texts]
    assert len({str(bound.arguments) for bound in learners}) == len(ablation.READINGS)


@pytest.mark.slow
@pytest.mark.parametrize("reading", ablation.READINGS)
def test_every_reading_trains(reading):
    found = ablation.measure(reading, [0], tasks=1, epochs_per_task=20)
    assert found["average_accuracy"][0] > 90
