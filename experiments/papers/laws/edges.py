"""Measured edges of stability beside the predicted ones: a table and three figures."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from tqdm import tqdm

import optax_lookbehind as ol
from experiments.papers.laws.settings import Setting, settings
from experiments.papers.laws.training import (
    Problem,

    cross_entropy,
    spectrum,
    squared_error,
    train,
)
from experiments.results import figures, tables
from experiments.storage import disk

STEPS, SAMPLES = 3000, 15
_SETTLED = 0.4  # fraction of training before the median is taken
_SHOWN = ("SGD", "USAM", "SAM", "Multistep-SAM, k = 3", "Lookbehind-SAM, k = 2, alpha = 1")


def measure(problem: Problem, setting: Setting, steps: int = STEPS) -> dict[str, Any]:
    """Trains one setting and compares its largest eigenvalue with the predicted edge."""
    rate: Any = setting.learning_rate
    if setting.warm_up:
        rate = optax.linear_schedule(0.0, rate, setting.warm_up)
    trace = train(
        problem, setting.method, setting.optimizer(rate), setting.divisor,
        steps=steps, samples=SAMPLES,
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
    return {
        "SGD": distances(plain),
        "USAM": distances(ol.usam(rho)),
        "SAM": distances(ol.sam(rho)),
        "Lookbehind-SAM": distances(ol.lookbehind_sam(3, rho, 1 / 3)),
        "amplitude": eta * rho * top / (2 - eta * top),
        "amplitude of Lookbehind": eta * 2 * rho * top / (2 - eta * top),
    }


def forbidden_bands(eta: float = 0.1, rho: float = 0.05, steps: int = STEPS) -> dict[str, Any]:
    """The largest eigenvalues under SAM on every second step, and the unstable curvatures."""
    problem = squared_error()
    rule = ol.multistep(ol.sam_perturbation(rho), policy=ol.periodic_policy(2))
    trace = train(
        problem, rule, optax.sgd(eta), optax.identity(), steps=steps, samples=SAMPLES
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
        "edges": rows,
        "cross_entropy": second,
        "bounce": bounce(),
        "bands": forbidden_bands(steps=steps),
    }


def write(folder: Path, steps: int = STEPS) -> list[Path]:
    """Computes and writes ``laws.edges.json``, ``.md`` and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    result = compute(steps)
    file, page = folder / "laws.edges.json", folder / "laws.edges.md"
    disk.write_text(file, json.dumps(result) + "\n")
    disk.write_text(page, markdown(result))
    return [file, page, *figures.save(draw(result), folder, "laws.edges")]


def markdown(result: dict[str, Any]) -> str:
    """The page: both tables and how they were measured."""
    heading = ["method", "c, d or law", "eta", "rho", "predicted l", "measured l", "ratio", "without the law"]  # fmt: skip
    parts = [
        "# Edges of stability, predicted and measured",
        "A tanh network of 64, 48, 48 and 10 units on the first 1,000 of scikit-learn's digits; full "
        "batches, squared error, float32, one seed, 3,000 steps. l is the largest eigenvalue of the "
        "Hessian; the columns are medians over the last 60% of training, the ratio with its range. "
        "\"Without the law\" divides l by the edge of the optimizer alone, 2 / eta.",
        _table(heading, result["edges"]),
        "The same network with cross-entropy and minibatches of 100: training need not come to the edge.",
        _table(heading, result["cross_entropy"]),
        "![Largest eigenvalue, bounce and spectrum](laws.edges.svg)",
    ]
    return "\n\n".join(parts) + "\n"


def _table(heading: list[str], rows: list[dict[str, Any]]) -> str:
    body = [
        [
            row["name"], row["law"], f"{row['learning_rate']:g}", f"{row['rho']:g}",
            f"{row['median_predicted']:.2f}", f"{row['median_curvature']:.2f}",
            f"{row['ratio']:.2f} [{row['lowest_ratio']:.2f}, {row['highest_ratio']:.2f}]",
            f"{row['without_method']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    return "\n".join(tables.markdown_lines([heading, *body]))


def draw(result: dict[str, Any]) -> Any:
    """Three panels: eigenvalues over training, the bounce, the spectrum between bands."""
    titles = [
        "largest eigenvalue (line) and predicted edge (dots)",
        "distance to the minimum of a quadratic",
        "eigenvalues under SAM on every second step",
    ]
    figure, axes = figures.panels(titles)
    _draw_edges(axes[0], result["edges"])
    _draw_bounce(axes[1], result["bounce"])
    _draw_bands(axes[2], result["bands"])
    return figure


def _draw_edges(axis: Axes, rows: list[dict[str, Any]]) -> None:
    shown = [row for row in rows if row["name"] in _SHOWN]
    names = ["none", "usam", "sam", "multistep_sam", "lookbehind_sam"]
    for row, style in zip(shown, figures.styles(names), strict=True):
        axis.plot(row["step"], row["curvature"], color=style.color, label=row["name"])
        axis.plot(row["step"], row["predicted"], color=style.color, linestyle=":", marker=".")
    axis.set(xlabel="training step", ylabel="curvature", yscale="log")
    axis.legend(fontsize=7, frameon=False)


def _draw_bounce(axis: Axes, result: dict[str, Any]) -> None:
    names = {"SGD": "none", "USAM": "usam", "SAM": "sam", "Lookbehind-SAM": "lookbehind_sam"}
    for name, style in zip(names, figures.styles(list(names.values())), strict=True):
        axis.plot(result[name], color=style.color, label=name)
    for key in ("amplitude", "amplitude of Lookbehind"):
        axis.axhline(result[key], color="gray", linestyle=":", label="predicted amplitude" if key == "amplitude" else None)  # fmt: skip
    axis.set(xlabel="step", ylabel="distance", yscale="log", ylim=(1e-4, 2))
    axis.legend(fontsize=7, frameon=False)


def _draw_bands(axis: Axes, result: dict[str, Any]) -> None:
    curvature, factor = np.array(result["curvature"]), np.array(result["factor"])
    axis.plot(curvature, factor, color="black")
    axis.fill_between(
        curvature, 0, 1, where=factor > 1, alpha=0.2, color="red",
        transform=axis.get_xaxis_transform(), label="unstable",
    )  # fmt: skip
    axis.plot(result["eigenvalues"], np.full(len(result["eigenvalues"]), 0.05), "|", ms=14, label="eigenvalues")  # fmt: skip
    axis.axhline(1, color="gray", linewidth=0.8)
    axis.set(xlabel="curvature", ylabel="factor of two steps", ylim=(0, 2))
    axis.legend(fontsize=7, frameon=False)


