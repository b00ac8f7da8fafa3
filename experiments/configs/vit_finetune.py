"""Fine-tuning of a ViT-B/16 on ImageNet for 15 epochs.

The Lookbehind paper (Table 4) fine-tunes a ViT-Base for 15 epochs. It starts from weights that were
already fine-tuned with SGD on ImageNet-1K, and does not state the patch size, the learning rate or
the batch size.

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
