"""Kills a run at random moments and compares its result with that of an uninterrupted run.

python -m tests.support.kill_and_resume KILLS [FLAG ...]

The flags are those of ``experiments.train``. The results of a lifelong run must be the same to the
bit, too.

Each kill is a ``kill -9`` after a random number of epochs and a random part of one: while a step
runs, a line is written, or a checkpoint. Then the same command runs again.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[2]


def start(workdir, flags, log):
    command = [sys.executable, "-m", "experiments.train", *flags, f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def epochs(workdir):
    log = workdir / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def kill_after(process, workdir, target, seconds):
    """Kills ``seconds`` after ``target`` epochs were logged; returns whether the run was alive."""
    # The event files are opened when training begins: before, there is nothing to lose.
    while process.poll() is None and not (
        (workdir / "events").exists() and epochs(workdir) >= target
    ):
        time.sleep(0.002)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def interrupted(workdir, flags, log, moments):
    """Runs to the end, killed at the moments; returns the epochs that were logged at each kill."""
    done = []
    for target, seconds in moments:
        if kill_after(start(workdir, flags, log), workdir, target, seconds):
            done.append(epochs(workdir))
    assert start(workdir, flags, log).wait() == 0, "the last run failed"
    return done


def arrays(workdir):
    """The step of the newest checkpoint, and every array in it by name."""
    folder = workdir / "checkpoints"
    newest = max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        tree = reader.restore(folder / str(newest) / "state")
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return newest, {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def compare(first, second):
    """Raises unless both runs ended with the same weights, metrics and results, to the bit."""
    (step, ours), (other_step, theirs) = arrays(first), arrays(second)
    assert step == other_step, (step, other_step)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            value, theirs[name] = jax.random.key_data(value), jax.random.key_data(theirs[name])
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    logs = [(run / "metrics.jsonl").read_bytes() for run in (first, second)]
    assert logs[0] == logs[1], "metrics.jsonl differs"
    results = [path.read_bytes() for run in (first, second) for path in run.glob("continual.json")]
    assert len(set(results)) <= 1, "continual.json differs"
    return len(ours), step


def main(kills, flags):
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        with open(Path(folder) / "log", "w+", encoding="utf-8") as log:
            if start(whole, flags, log).wait() != 0:
                log.seek(0)
                sys.exit(log.read())
            timing = (whole / "timing.jsonl").read_text().splitlines()
            epoch_seconds = statistics.median(json.loads(line)["seconds"] for line in timing)
            targets = sorted(rng.randrange(len(timing)) for _ in range(kills))
            moments = [(target, rng.uniform(0, epoch_seconds)) for target in targets]
            done = interrupted(killed, flags, log, moments)
        count, step = compare(whole, killed)
    print(
        f"seed {seed}: {len(done)} kills, at {done} of {len(timing)} epochs; {count} arrays of "
        f"the checkpoint after step {step} and metrics.jsonl are the same to the bit"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
