"""Continual learning: ``--config=experiments/configs/continual.py:digits`` (or cifar100, tiny).

The streams of the Lookbehind paper's Table 2, and one that needs no download.
"""

from ml_collections import ConfigDict

from experiments.configs import base
from experiments.configs.lookup import look_up

# La-MAML's multi-pass setup: 10 epochs per task, batches of 10, memories of 200 and 400 in total.
_STREAMS = {
    "digits": {
        "dataset": "digits",
        "model": "cnn2_32_64",
        "tasks": 5,
        "classes_per_task": 2,
        "memory": 50,
        "epochs_per_task": 3,
    },
    "cifar100": {
        "dataset": "cifar100",
        "model": "cnn3_160_320",
        "tasks": 20,
        "classes_per_task": 5,
        "memory": 200,
        "brightness": 63 / 255,
    },
    "tiny": {
        "dataset": "tiny_imagenet",
        "model": "cnn4_160_640",
        "tasks": 40,
        "classes_per_task": 5,
        "memory": 400,
    },
}


def get_config(stream: str = "digits") -> ConfigDict:
    """Returns the defaults; ``base.py`` documents the other keys.

    Args:
      stream: "digits" (5 tasks of 2 classes), "cifar100" (20 of 5) or "tiny" (40 of 5).
    """
    config = base.get_config()
    config.task = "multi_head"  # one head per task; the task of an example is known

    config.tasks = 1  # number of tasks
    config.classes_per_task = 1  # the seed decides which classes
    config.epochs_per_task = 10  # 10: multi-pass; 1: single-pass
    config.glances = 1  # steps in a row on the same batch
    config.epochs = config.get_ref("tasks") * config.get_ref("epochs_per_task")  # of the run
    config.validation = 0.1  # held out in the final runs too, as in the paper's setup
    config.eval_test = True  # False: evaluate on the held-out examples alone, to choose settings
    config.brightness = 0.0  # with augment: images times U(1 - brightness, 1 + brightness)

    config.learner = "er"  # er, cmaml or lookbehind_cmaml, with arguments as methods have them:
    # name:key=value,... of experiments/tasks/continual/learners.py; or joint: all tasks at once
    config.memory = 0  # capacity of the replay memory, of all tasks together; 0: no replay
    config.replay = 10  # replayed examples of a step, in addition to the batch
    config.store = "first_epoch"  # or "every_epoch": when a task's batches are stored in the memory

    config.batch_size = 10
    config.learning_rate = 0.03
    config.schedule = "constant"
    config.momentum = 0.0
    config.weight_decay = 0.0
    config.clip_norm = 2.0
    config.update(look_up("stream", stream, _STREAMS))
    return config
