"""State, step, loop, logs and checkpoints of a training run."""
