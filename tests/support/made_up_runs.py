"""Random results in place of those of runs, for tests of tables and figures."""

import numpy as np

from experiments.methods.table import method
from experiments.recipes.recipe import RunResult
from experiments.training.method_switch import methods_by_epoch


def made_up(plan):
    """For each cell of a plan: seed -> run, with random numbers in the shapes of real ones."""
    rng = np.random.default_rng(0)
    peers, found = {}, []
    for cell, runs in plan.runs:
        by_seed = {}
        for run in runs:
            measures = {each.name: _measure(each, run.config, rng) for each in plan.measures}
            history = _history(run.config, rng)
            same_column = peers.setdefault((cell.column, run.config.seed), {})
            result = RunResult(run.config, history, history[-1], measures, same_column)
            same_column[cell.row] = by_seed[run.config.seed] = result
        found.append(by_seed)
    return found


def _history(config, rng):
    lines = []
    for epoch, text in enumerate(methods_by_epoch(config), start=1):
        arguments = method(text).arguments
        progress = epoch / config.epochs
        line = {
            "epoch": epoch,
            "train_loss": 2.3 * (1 - progress) + 0.1 * rng.random(),
            "train_accuracy": 0.1 + 0.8 * progress + 0.01 * rng.random(),
            "test_accuracy": 0.1 + 0.6 * np.sqrt(progress) + 0.1 * rng.random(),
            "test_loss": 1.0,
            "images_per_second": 1000.0 + rng.random(),
        }
        if arguments.get("alpha") == "adaptive":
            line["train_alpha"] = 1 - 0.5 * progress
        if {"lambda_1", "period", "probability"} & set(arguments):
            line["train_applied"] = 0.5 * rng.random()
        lines.append(line)
    return lines


def _measure(spec, config, rng):
    options = dict(option.lstrip("-").split("=") for option in spec.options)
    numbers = {
        key: [float(word) for word in text.split(",")]
        for key, text in options.items()
        if key in ("radii", "asam_radii", "sigmas")
    }
    if spec.name == "m_sharpness":
        curves = {
            key: rng.random(len(numbers[radii])).cumsum().tolist()
            for key, radii in (("sam", "radii"), ("asam", "asam_radii"))
        }
        return numbers | curves | {"loss": rng.random()}
    if spec.name == "weight_noise":
        return numbers | {"accuracy": np.linspace(0.9, 0.2, len(numbers["sigmas"])).tolist()}
    epochs = list(range(config.keep_every or 1, config.epochs + 1, config.keep_every or 1))
    result = {"epochs": epochs, "variance": rng.random(len(epochs)).tolist()}
    result["squared_norm"] = rng.random(len(epochs)).tolist()
    total = np.add(result["variance"], result["squared_norm"])
    result["expected_squared_norm"] = total.tolist()
    samples = int(options["sampled_minibatches"])
    if samples:
        result["sampled_squared_norms"] = rng.normal(2, 0.3, (len(epochs), samples)).tolist()
    return result
