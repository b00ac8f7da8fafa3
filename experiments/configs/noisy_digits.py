"""The testbed on which methods are compared: digits with 40% of the training labels wrong.

Batches of 32 and 40 epochs: at a learning rate of 0.01 SGD memorizes 95% of the (partly wrong)
labels, at 0.02 all of them. A low rate with weight decay memorizes few of them, too. The wrong
labels (``data_seed``) and the test images are the same for every seed.
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
