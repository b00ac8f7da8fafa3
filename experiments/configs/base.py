"""Every key that all setups share, with its default and its meaning."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults; every key can be set as ``--config.key=value``."""
    config = ConfigDict()

    config.task = "classification"  # a name in experiments/tasks/table.py
    config.dataset = placeholder(str)  # a name in experiments/data, or module:function
    config.data_dir = placeholder(str)  # its folder or file; None: usually the folder of TFDS
    config.image_size = 224  # of the crops of a streamed dataset
    config.workers = 8  # processes that decode a streamed dataset
    config.validation = 0.0  # fraction of the training set to hold out and evaluate on (val_*)
    config.eval_test = False  # with validation: evaluate on the test set too (test_*)
    config.train_examples = placeholder(int)  # number to train on; None: all
    config.label_noise = 0.0  # fraction of the training labels that are wrong
    config.data_seed = 0  # draws subset, held-out part, fold and wrong labels
    config.fold = placeholder(int)  # 0 to 4: test on this fifth of all examples; None: as published
    config.shrink = 1  # n: replace each n x n block of pixels by its mean
    config.augment = placeholder(bool)  # pad, crop, flip; None: as usual for the dataset
    config.label_smoothing = 0.0  # fraction of each label spread over all classes

    config.model = placeholder(str)  # a name in experiments/models, or module:function
    config.dtype = "float32"  # type of the computation, or "bfloat16"; weights are float32
    config.pretrained = placeholder(str)  # a ViT's .npz file, or a run's workdir, to start from

    config.method = "none"  # name:key=value,... of experiments/methods/table.py; none: no method,
    # the optimizer alone
    config.switch = ()  # ((100, "lookbehind_sam:k=5"), ...): other methods after 100, ... epochs
    config.microbatches = 1  # independently perturbed parts of the batch (m-SAM)
    config.per_device_perturbation = False  # an independent perturbation per device
    config.shard_weights = False  # FSDP: over the devices that also divide the batch

    config.epochs = 200
    config.batch_size = 128  # of all devices together; the last, partial batch is dropped
    config.eval_every = 1  # n: evaluate after every n-th epoch, and after the last one
    config.patience = placeholder(
        int
    )  # n: stop after n epochs without a better validation score, and
    # evaluate the test set once, with the weights of the best epoch; None: train all epochs
    config.eval_batch_size = 1000  # rounded up to a multiple of the devices
    config.optimizer = "sgd"  # or "adam", "adamw"
    config.learning_rate = 0.1  # the highest of the schedule
    config.schedule = "cosine"  # to zero; "step": a tenth after 25%, 50% and 75%; "constant";
    # "inverse_sqrt": proportional to 1 / sqrt(step) after the warm-up; "cosine_restarts"
    config.restart_epochs = 5  # cosine_restarts: epochs from one restart to the next
    config.warmup_steps = 0  # steps of linear warm-up from 0; minibatches with switch_minibatch
    config.momentum = 0.9  # sgd
    config.betas = (0.9, 0.999)  # adam, adamw
    config.epsilon = 1e-8  # adam, adamw
    config.clip_norm = placeholder(float)  # bound on the norm of the gradient; None: no clipping
    config.weight_decay = 5e-4  # as in PyTorch's optimizer of the same name
    config.decay_biases = True  # False: weight decay leaves out biases and normalization's scales

    config.skip_nonfinite = 0  # non-finite steps in a row to skip before stopping; 0: stop at once
    config.save_every = 1  # n: a checkpoint after every n-th epoch, and after the last one
    config.save_every_steps = placeholder(int)  # n: after every n-th training step, too
    config.keep_every = placeholder(int)  # n: keep every n-th checkpoint too; None: the newest two
    config.seed = 0  # of the initial weights, the order of the examples, and augmentation
    return config


def with_changes(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of the config with some keys set."""
    config = deepcopy(config)
    config.update(changes)
    return config
