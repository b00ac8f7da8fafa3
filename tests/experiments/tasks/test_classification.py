"""Classification: the smoothed loss of training, and the plain one of evaluation."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks.classification import cross_entropy
from tests.support.training import first_batches, start


def test_labels_are_smoothed_in_training_only(config):
    logits, labels = jnp.array([[2.0, 1.0, 0.0]]), jnp.array([1])
    log_p = jax.nn.log_softmax(logits[0])
    expected = -(0.9 * log_p[1] + 0.1 * log_p.mean())
    np.testing.assert_allclose(cross_entropy(logits, labels, 0.1)[0], expected, rtol=1e-6)

    config.model = "dense"
    losses = {}
    for smoothing in (0.0, 0.1):
        config.label_smoothing = smoothing
        trainer, pipeline, state = start(config)
        (test_set,) = pipeline.evaluation["test"]()
        tested = trainer.evaluate(state, test_set)["loss"]
        _, metrics = trainer.phases[0].step(state, *first_batches(pipeline, 1))
        losses[smoothing] = (metrics["loss"], tested)
    assert losses[0.0][0] != losses[0.1][0]
    assert losses[0.0][1] == losses[0.1][1]
