"""Small runs to analyze, and quick analyses of them."""

import json

from experiments import analyze, train
from experiments.configs import digits
from experiments.results.measures.trained_run import open_run

# Name to what is changed in the config. The last one has other data.
CHANGES = {
    "sgd-0": {},
    "sgd-1": {"seed": 1},
    "sgd-2": {"seed": 2},
    "k2": {"method": "lookbehind_sam:k=2,rho=0.1"},
    "k3": {"method": "lookbehind_sam:k=3,rho=0.1"},
    "other": {"method": "lookahead_sam:k=2,alpha=0.5", "label_noise": 0.1},
}

QUICK = (
    "--examples=512 --test_examples=100 --radii=0.05,0.1 --asam_radii=0.5 --sigmas=0,0.5 --draws=2 "
    "--eigenvalues=2 --samples=2 --minibatches=20 --grid=3"
)


def config_of(name):
    """The config of a run."""
    config = digits.get_config()
    config.update(model="dense", epochs=2, batch_size=128, train_examples=512)
    config.update(CHANGES[name])
    return config


def train_runs(folder):
    """Trains all of them; returns their workdirs by name."""
    for name in CHANGES:
        train.main(config_of(name), folder / name)
    return {name: folder / name for name in CHANGES}


def opened(path, **options):
    """A run opened on the data of a quick analysis."""
    return open_run(path, examples=512, test_examples=100, **options)


def analysis_of(runs, output, *flags):
    """Runs the command line and returns what it wrote."""
    analyze.main([*map(str, runs), f"--output={output}", *QUICK.split(), *flags])
    return json.loads((output / "analysis.json").read_text())
