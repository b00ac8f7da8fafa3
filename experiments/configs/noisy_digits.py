"""The testbed on which methods are compared: digits with 40% of the training labels wrong.

Batches of 32 and 40 epochs: at a learning rate of 0.01 SGD memorizes 95% of the (partly wrong)
labels, at 0.02 all of them, so a method that generalizes does so because of the method.
"""

from ml_collections import ConfigDict

from experiments.configs import digits


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents each key."""
    config = digits.get_config()
    config.label_noise = 0.4
    config.batch_size = 32
    config.epochs = 40
    return config
