"""Fine-tuning of a ViT-B/16 on ImageNet for 15 epochs, with a new minibatch in each inner step.

The Lookbehind paper (Table 4) fine-tunes a ViT-Base with SGD for 15 epochs: SAM, ASAM, and Lookbehind
with k = 2, alpha = 0.8 or adaptive, and switched minibatches, which then costs what SAM costs for each
minibatch. SAM's rho is the best of 0.1, 0.2 and 0.5; ASAM's is 0.1. It starts from weights that were
already fine-tuned with SGD on ImageNet-1K, and does not state the patch size, the learning rate, the
schedule or the batch size.

``--config.pretrained`` takes a ``.npz`` file of the original ViT release: one that was fine-tuned on
ImageNet-1K, whose classifier is kept (the paper's start), or one pre-trained on ImageNet-21k, whose
classifier starts from zeros. Images then go from -1 to 1, as in that release.
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
