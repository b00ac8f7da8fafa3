"""The keys that all set-ups share, and what they mean."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults; every key can be set as ``--config.key=value``."""
    config = ConfigDict()

    config.task = "classification"  # a name in experiments/tasks/table.py
    config.dataset = placeholder(str)  # a name in experiments/data
    config.data_dir = placeholder(str)  # where TFDS keeps it; unset: where TFDS looks by itself
    config.image_size = 224  # of the crops of a streamed data set
    config.workers = 8  # processes that decode a streamed data set
    config.validation = 0.0  # fraction of the training set to hold out and evaluate on (val_*)
    config.eval_test = False  # with validation: evaluate on the test set too (test_*)
    config.train_examples = placeholder(int)  # how many to train on; unset: all
    config.label_noise = 0.0  # share of the training labels that are wrong
    config.noise_seed = 0  # which ones; fixed, so that all runs see the same labels
    config.augment = placeholder(bool)  # pad, crop, flip; unset: as is usual for the data set
    config.label_smoothing = 0.0  # share of each label that is spread over all classes

    config.model = placeholder(str)  # a name in experiments/models
    config.dtype = "float32"  # of the computation, or "bfloat16"; weights are float32
    config.pretrained = placeholder(str)  # a ViT's .npz file to start from

    config.method = "none"  # name:key=value,... of experiments/methods/table.py; none: no method,
    # the optimizer alone
    config.switch = ()  # ((100, "lookbehind_sam:k=5"), ...): another method after so many epochs
    config.microbatches = 1  # parts of the batch that are perturbed on their own (m-SAM)
    config.per_device_perturbation = False  # each device perturbs on its own part of the batch

    config.epochs = 200
    config.batch_size = 128  # of all devices together; the last, partial one is dropped
    config.eval_batch_size = 1000  # rounded up to what the devices divide
    config.optimizer = "sgd"  # or "adam", "adamw"
    config.learning_rate = 0.1  # at the start
    config.schedule = "cosine"  # to zero; "step": a tenth after 25%, 50% and 75%; "constant"
    config.momentum = 0.9  # sgd
    config.clip_norm = placeholder(float)  # bound on the norm of the gradient that the optimizer is
    # given; unset: none
    config.weight_decay = 5e-4  # as PyTorch's optimizer of the same name has it, on every weight

    config.skip_nonfinite = 0  # how many steps in a row to leave out if not finite; 0: stop
    config.keep_every = placeholder(int)  # n: every n-th checkpoint as well; unset: the newest two
    config.seed = 0  # of the initial weights, the order of the examples, and augmentation
    return config


def with_changes(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of the config with some keys set."""
    config = deepcopy(config)
    config.update(changes)
    return config
