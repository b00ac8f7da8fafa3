"""Fine-tuning of a ViT-B/16 on ImageNet for 15 epochs.

The Lookbehind paper (Table 4) fine-tunes a ViT-Base with SGD for 15 epochs, from weights that were
already fine-tuned with SGD on ImageNet-1K. Lookbehind has k = 2, alpha = 0.8 or adaptive, and
in each inner step a new minibatch, so that it costs what SAM costs per minibatch. SAM's rho is the
best of 0.1, 0.2 and 0.5, ASAM's is 0.1. Patch size, learning rate, schedule and batch size are not
stated.

``--config.pretrained`` takes a ``.npz`` file of the original ViT release: either fine-tuned on
ImageNet-1K, with a classifier that is kept (the paper's start), or pre-trained on ImageNet-21k, in
which case the classifier starts from zeros. Images then go from -1 to 1, as in that release.
"""

from ml_collections import ConfigDict

from experiments.configs import imagenet


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents each key."""
    config = imagenet.get_config()
    config.model = "vit_b16"
    config.epochs = 15
    # This project's choice, within the range of the release's own fine-tuning.
    config.learning_rate = 0.01
    config.weight_decay = 0.0
    return config
