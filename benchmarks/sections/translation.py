"""Tokens per second of a Transformer: training steps next to the gradient alone, and decoding."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optax_lookbehind as ol
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.timing import Run, interleaved
from experiments.data.text.buckets import Pairs
from experiments.data.text.tokens import EOS
from experiments.decoding.translate import Search, translate
from experiments.models.sequence.transformer import Transformer
from experiments.tasks.translation import translation
from experiments.training.state import TrainState
from experiments.training.step import StepConfig, train_step

_VOCABULARY, _LENGTH = 2000, 24
_RHO = 0.1
_BEAM = 5


def measure(setup: Setup) -> Table:
    """Measures training with four methods, and decoding with and without a beam."""
    width, layers, heads = setup.vit

    def make_model(key: jax.Array) -> Transformer:
        return Transformer(
            _VOCABULARY,
            _VOCABULARY,
            width=width,
            hidden=2 * width,
            heads=heads,
            layers=layers,
            dropout=0.0,
            pre_norm=True,
            share_embeddings=True,
            dtype=setup.compute,
            rngs=nnx.Rngs(key),
        )

    key = jax.random.key(0)
    graphdef, params = nnx.split(make_model(key), nnx.Param)
    sides = np.random.default_rng(0).integers(4, _VOCABULARY, (2, setup.batch, _LENGTH))
    batch = Pairs(*jnp.asarray(sides, jnp.int32))
    two = Pairs(*(jnp.stack([side, side[::-1]]) for side in batch))
    step_config = partial(StepConfig, translation(make_model, label_smoothing=0.1), graphdef)
    adam = optax.adam(1e-4)
    lookbehind = ol.lookbehind_sam(2, _RHO, 0.8, fast_optimizer=adam, switch_minibatch=True)
    steps: dict[str, tuple[int, int, Run]] = {
        "Adam": (1, 1, _train(step_config(adam), params, batch)),
        "SAM": (2, 1, _train(step_config(optax.chain(ol.sam(_RHO), adam)), params, batch)),
        "Lookbehind-SAM, k = 2, switched minibatches": (
            4,
            2,
            _train(step_config(lookbehind, num_minibatches=2), params, two),
        ),
    }
    gradient = _gradient(step_config(adam), params, batch)
    runs = {"one gradient": gradient} | {name: run for name, (*_, run) in steps.items()}
    seconds = interleaved(runs, setup.rounds)
    costs = {name: (gradients, batches) for name, (gradients, batches, _) in steps.items()}
    tokens = setup.batch * _LENGTH
    unit = seconds["one gradient"]
    rows = [
        _row(name, *costs.get(name, (1, 1)), tokens, times, unit) for name, times in seconds.items()
    ]
    model = nnx.merge(graphdef, params)
    model.eval()
    decoding = {
        "greedy decoding": _decode(model, batch, 1),
        f"decoding, beam {_BEAM}": _decode(model, batch, _BEAM),
    }
    length = int(Search().max_ratio * _LENGTH + Search().max_extra)
    for name, times in interleaved(decoding, setup.rounds).items():
        rows.append({"step": name, **_speed(setup.batch * length, times)})
    return Table(
        "Tokens per second of a Transformer",
        rows,
        f"A Transformer of {layers} encoder and {layers} decoder layers of width {width}, "
        f"{_VOCABULARY:,} tokens; {setup.batch} pairs of {_LENGTH} tokens a minibatch, no padding, "
        "no dropout. Target tokens per second; in training of all minibatches of a step, in "
        f"decoding with the cache over all {length} positions. The unit of the third column is the "
        "time of the jitted gradient alone, measured in the same round.",
    )


def _row(
    name: str, gradients: int, batches: int, tokens: int, times: np.ndarray, unit: np.ndarray
) -> Row:
    ratio = float(np.median(times / (gradients * unit)))
    return {
        "step": name,
        "gradients": gradients,
        "over its gradients": ratio,
        **_speed(batches * tokens, times),
    }


def _speed(tokens: int, times: np.ndarray) -> Row:
    seconds = float(np.median(times))
    return {"tokens per second": round(tokens / seconds), "ms": 1e3 * seconds}


def _gradient(config: StepConfig, params: nnx.State, batch: Pairs) -> Run:
    @jax.jit
    def gradient(params: nnx.State) -> Any:
        def loss(params: nnx.State) -> jax.Array:
            model = nnx.merge(config.graphdef, params)
            model.train()
            return config.task.loss(model, batch, jax.random.key(0))[0]

        return jax.grad(loss)(params)

    return _repeat(lambda _: gradient(params), None)


def _train(config: StepConfig, params: nnx.State, batch: Pairs) -> Run:
    step = jax.jit(partial(train_step, config), donate_argnums=0)
    params = jax.tree.map(jnp.copy, params)
    state = TrainState(params, nnx.State({}), config.tx.init(params), jax.random.key(0))
    return _repeat(lambda state: step(state, batch)[0], state)


def _decode(model: nnx.Module, batch: Pairs, beam: int) -> Run:
    source = [np.append(row[:-1], EOS) for row in np.asarray(batch.source)]
    # All at once; a random model does not end its hypotheses before the limit.
    search = Search(beam=beam, max_tokens=batch.source.size)
    return _repeat(lambda _: translate(model, source, search, [_LENGTH]), None)


def _repeat(call: Callable[[Any], Any], state: Any) -> Run:
    """Calls on the result of the previous call."""
    current = [state]

    def run(calls: int) -> None:
        for _ in range(calls):
            current[0] = call(current[0])
        jax.block_until_ready(current[0])

    return run
