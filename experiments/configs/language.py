"""A small byte-level GPT on the text of Python's ``help()``: minutes on a laptop."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import base


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents the keys that all setups share."""
    config = base.get_config()
    config.task = "language"
    config.dataset = "text"
    config.data_dir = placeholder(str)  # a text file; default: the embedded text
    config.length = 64  # bytes that a window predicts

    config.model = "gpt"
    config.width = 96
    config.heads = 4
    config.layers = 4

    config.epochs = 2
    config.batch_size = 32
    config.eval_batch_size = 256
    config.optimizer = "adamw"
    config.betas = (0.9, 0.99)
    config.weight_decay = 0.1
    config.learning_rate = 2e-3
    config.warmup_steps = 50
    config.clip_norm = 1.0
    return config
