"""Measured edges of stability beside the predicted ones: a table and three figures."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import optax_lookbehind as ol
from experiments.papers.laws import page
from experiments.papers.laws.settings import Setting, settings
from experiments.papers.laws.training import (
    Problem,
    cross_entropy,
    spectrum,
    squared_error,
    train,
)
from experiments.results import figures
from experiments.storage import disk

STEPS, SAMPLES = 3000, 15
_SETTLED = 0.4  # fraction of training before the median is taken


def measure(problem: Problem, setting: Setting, steps: int = STEPS) -> dict[str, Any]:
    """Trains one setting and compares its largest eigenvalue with the predicted edge."""
    rate: Any = setting.learning_rate
    if setting.warm_up:
        rate = optax.linear_schedule(0.0, rate, setting.warm_up)
    trace = train(
        problem, setting.method, setting.optimizer(rate), setting.divisor,
        steps=steps, samples=SAMPLES, period=setting.period,
    )  # fmt: skip
    predicted = setting.predicted(trace)
    settled = slice(int(_SETTLED * SAMPLES), None)
    ratio = (trace.curvature / predicted)[settled]
    return {
        "name": setting.name,
        "law": setting.law,
        "learning_rate": setting.learning_rate,
        "rho": setting.rho,
        "step": trace.step.tolist(),
        "curvature": trace.curvature.tolist(),
        "predicted": predicted.tolist(),
        "median_curvature": float(np.median(trace.curvature[settled])),
        "median_predicted": float(np.median(predicted[settled])),
        "ratio": float(np.median(ratio)),
        "lowest_ratio": float(ratio.min()),
        "highest_ratio": float(ratio.max()),
        "without_method": float(np.median(trace.curvature[settled]) / setting.without_method),
        "loss": trace.loss.tolist(),
    }


def bounce(rho: float = 0.1, eta: float = 0.2, steps: int = 400) -> dict[str, Any]:
    """Distances to the minimum of a quadratic under SGD, SAM and USAM, and SAM's amplitude."""
    curvatures = jnp.geomspace(0.3, 3, 12)

    def distances(method: Any) -> list[float]:
        tx = optax.chain(method, optax.sgd(eta))

        def step(carry: Any, _: None) -> Any:
            w, state = carry
            updates, state = tx.update(
                curvatures * w, state, w, grad_fn=lambda p, i: curvatures * p
            )
            return (w + updates, state), jnp.linalg.norm(w)

        w = jnp.ones(12) / 12**0.5
        return jax.lax.scan(step, (w, tx.init(w)), length=steps)[1].tolist()

    plain = optax.with_extra_args_support(optax.identity())
    top = float(curvatures[-1])
    methods = {
        "SGD": plain,
        "USAM": ol.usam(rho),
        "SAM": ol.sam(rho),
        "Lookbehind-SAM": ol.lookbehind_sam(3, rho, 1 / 3),
    }
    # eta d rho l / (2 - eta c l), with c = 1 for both and d = (k + 1) / 2 for Lookbehind.
    amplitude = {"SAM": 1.0, "Lookbehind-SAM": 2.0}
    return {
        "distance": {name: distances(method) for name, method in methods.items()},
        "amplitude": {name: eta * d * rho * top / (2 - eta * top) for name, d in amplitude.items()},
    }


def forbidden_bands(eta: float = 0.1, rho: float = 0.05, steps: int = STEPS) -> dict[str, Any]:
    """The largest eigenvalues under SAM on every second step, and the unstable curvatures."""
    problem = squared_error()
    rule = ol.multistep(ol.sam_perturbation(rho), policy=ol.periodic_policy(2))
    trace = train(
        problem, rule, optax.sgd(eta), optax.identity(), steps=steps, samples=SAMPLES, period=2
    )
    curvature = np.linspace(0.5, 14, 2000)
    sharp = 1 - eta * curvature * (1 + rho * curvature / trace.norm[-1])
    return {
        "eigenvalues": spectrum(problem, trace.weights[-1])[:30].tolist(),
        "curvature": curvature.tolist(),
        "factor": np.abs(sharp * (1 - eta * curvature)).tolist(),
    }


def compute(steps: int = STEPS) -> dict[str, Any]:
    """Everything that the page shows."""
    problem = squared_error()
    rows = [measure(problem, setting, steps) for setting in tqdm(settings(), unit=" settings")]
    kept = [s for s in settings() if s.name in ("SGD", "USAM", "SAM")]
    second = [measure(cross_entropy(), setting, steps) for setting in kept]
    return {
        "steps": steps,
        "edges": rows,
        "cross_entropy": second,
        "bounce": bounce(),
        "bands": forbidden_bands(steps=steps),
    }


def write(folder: Path, steps: int = STEPS) -> list[Path]:
    """Computes and writes ``laws.edges.json``, ``.md`` and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    result = compute(steps)
    file, text = folder / "laws.edges.json", folder / "laws.edges.md"
    disk.write_text(file, json.dumps(result) + "\n")
    disk.write_text(text, page.markdown(result))
    return [file, text, *figures.save(page.draw(result), folder, "laws.edges")]
