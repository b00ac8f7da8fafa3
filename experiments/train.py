r"""Trains one model with one method.

For example::

    python -m experiments.train --config=experiments/configs/digits.py \
        --config.method=lookbehind_sam --config.k=5 --config.alpha=0.5 --workdir=runs/mine

The config file lists every key. The workdir gets ``config.json`` and ``metrics.jsonl``.
"""

import json
import time
from pathlib import Path

from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import cli
from experiments.methods import method
from experiments.program import compiled, fetch_metrics, make_dataset, make_program, run_epochs


def main(config: ConfigDict, workdir: Path | None) -> None:
    """Runs ``config``; results go to ``workdir``, by default a folder named after the run."""
    with cli.user_errors():
        dataset = make_dataset(config)
        program = compiled(make_program(config, dataset))
        name = f"{config.dataset}-{config.method}-seed{config.seed}"
        workdir = workdir or Path("runs") / name
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "config.json").write_text(config.to_json(indent=2) + "\n")

    started = time.perf_counter()
    epochs = run_epochs(program, dataset, config.seed, config.epochs)
    with (
        open(workdir / "metrics.jsonl", "w", encoding="utf-8") as log,
        tqdm(epochs, total=config.epochs, desc=method(config.method).title, unit="epoch") as bar,
    ):
        for number, epoch in enumerate(bar, start=1):
            metrics = fetch_metrics(epoch)
            seconds = round(time.perf_counter() - started, 3)
            log.write(json.dumps({"epoch": number, "seconds": seconds, **metrics}) + "\n")
            log.flush()
            bar.set_postfix(
                loss=f"{metrics['train_loss']:.3f}", test=f"{metrics['test_accuracy']:.2%}"
            )

    split = "validation" if config.validation else "test"
    print(
        f"{method(config.method).title}: {split} accuracy {metrics['test_accuracy']:.2%}, "
        f"training loss {metrics['train_loss']:.4f} after {number} epochs and {seconds:.1f} s; "
        f"written to {workdir}"
    )


if __name__ == "__main__":
    cli.run(main)
