"""Forecasting with SAMformer (Ilbert et al., 2024), by default of a synthetic series.

ETTh1.csv and ETTh2.csv are in github.com/zhouhaoyi/ETDataset; the defaults are the published recipe
for them. ``--config.data_dir`` may be any CSV file with a column of dates first.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import base


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents the keys that all setups share."""
    config = base.get_config()
    config.task = "forecasting"
    config.dataset = "synthetic"  # or, with a folder as data_dir, the name of a CSV file in it
    config.data_dir = placeholder(str)  # a CSV file, or a folder; default: a synthetic series
    config.split = (8640, 2880, 2880)  # rows of training, validation and test part (of ETTh1: 12, 4
    # and 4 months of 30 days), or fractions of all rows; later rows are not used
    config.lookback = 512  # steps that the model sees
    config.horizon = 96  # steps that it predicts; published: 96, 192, 336, 720
    config.eval_test = True

    config.model = "samformer"  # or "linear": the same without attention
    config.width = 16  # features of queries, keys and values
    config.dropout = 0.0  # on the inputs of the last linear map

    config.epochs = 40  # published: 100, but no run gets there
    config.patience = 5
    config.batch_size = 32
    config.eval_batch_size = 256
    config.optimizer = "adam"
    config.epsilon = 1e-7  # Keras's default
    config.weight_decay = 0.0
    config.decay_biases = False  # RevIN divides by its scale
    config.learning_rate = 1e-3
    config.schedule = "cosine_restarts"
    return config
