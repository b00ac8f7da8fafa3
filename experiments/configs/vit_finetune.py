"""Fine-tuning of a ViT-B/16 on ImageNet for 15 epochs, as in the Lookbehind paper.

``--config.pretrained`` takes a ``.npz`` file of the original ViT release. Images then go from -1 to
1, as in that release.
"""

from ml_collections import ConfigDict

from experiments.configs import imagenet


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` says what each key means."""
    config = imagenet.get_config()
    config.model = "vit_b16"
    config.epochs = 15
    # This project's choice, within the range of the release's own fine-tuning.
    config.learning_rate = 0.01
    config.weight_decay = 0.0
    return config
