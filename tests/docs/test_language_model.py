"""The step of the guide, as it stands there but for a smaller model."""

import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "language-model.md"
(BLOCK,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
def test_the_step_learns_a_text_that_repeats_itself():
    scope = {}
    small = "GPT(256, length=8, width=8, heads=2, layers=2"
    block = BLOCK.replace("GPT(256, length=64, width=96, heads=4, layers=4", small)
    exec(block.replace("adamw(2e-3", "adamw(3e-2"), scope)
    text = np.frombuffer(b"to be or not " * 12, np.uint8)[: 9 * 16].reshape(16, 9)
    params, state, losses = scope["params"], scope["opt_state"], []
    for _ in range(20):
        params, state, loss = scope["step"](params, state, jnp.asarray(text, jnp.int32))
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]
