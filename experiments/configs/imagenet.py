"""ImageNet from scratch: ResNet-50, 90 epochs, batches of 512, as in the AE-SAM paper (Table 2).

The Lookbehind paper (Table 1) trains a ResNet-18 for 90 epochs
(``--config.model=resnet18_imagenet``); the other settings here are not its own. Computation in
bfloat16 is this project's choice.
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents each key."""
    config = base.get_config()
    config.dataset = "imagenet2012"
    config.model = "resnet50_imagenet"
    config.dtype = "bfloat16"
    config.epochs = 90
    config.batch_size = 512
    config.eval_batch_size = 512
    config.weight_decay = 1e-4
    return config
