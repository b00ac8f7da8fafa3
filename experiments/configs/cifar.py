"""CIFAR as both papers train on it: flags choose dataset, model, method and the paper's recipe.

``--config=experiments/configs/cifar.py:lookbehind`` or ``...:aesam``. Rate 0.1, momentum 0.9 and
batches of 128 are those of the AE-SAM paper and of the Lookbehind authors' code; the text of the
Lookbehind paper does not state them.
"""

from ml_collections import ConfigDict

from experiments.configs import base
from experiments.configs.lookup import look_up

_RECIPES = {
    # A tenth every 50 of 200 epochs (appendix A.1.3); weight decay of the authors' code.
    "lookbehind": {"schedule": "step", "weight_decay": 5e-4},
    # Section 4.1; the end value of the schedule is not stated.
    "aesam": {"schedule": "cosine", "weight_decay": 1e-4},
}


def get_config(recipe: str = "lookbehind") -> ConfigDict:
    """Returns the defaults; ``base.py`` documents each key.

    Models of the papers are ``resnet18``, ``resnet34``, ``resnet50``, ``resnet32``, ``wrn28_2``,
    ``wrn28_10``, ``pyramidnet110`` (300 epochs) and ``vit_s4`` (1200 epochs). The AE-SAM paper
    names its ViT S/16, but patches of 16x16 would leave four tokens of a 32x32 image: with 4x4
    there are 64.

    Args:
      recipe: "lookbehind" or "aesam".
    """
    config = base.get_config()
    config.dataset = "cifar10"
    config.model = "resnet18"
    config.update(look_up("recipe", recipe, _RECIPES))
    return config
