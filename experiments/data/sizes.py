"""Sizes of the datasets, known without opening them."""

from collections.abc import Mapping

from ml_collections import ConfigDict

# Training examples, shape of an image and classes.
IMAGES: Mapping[str, tuple[int, tuple[int, int, int], int]] = {
    "digits": (1437, (8, 8, 1), 10),
    "cifar10": (50_000, (32, 32, 3), 10),
    "cifar100": (50_000, (32, 32, 3), 100),
    "imagenet2012": (1_281_167, (224, 224, 3), 1000),
    "tiny_imagenet": (100_000, (64, 64, 3), 200),
}
TEXT = "parallel_text"
# Tokens of an epoch per language, padding included, by the vocabulary of the setup: counted for the
# first two texts, estimated for IWSLT'14 (160,000 pairs of some 25 tokens, a fifth is padding).
_TEXT_TOKENS = {1500: 64_512, 8000: 565_000, 10_000: 5_000_000}


def training_examples(config: ConfigDict) -> int:
    """Number of images of an epoch."""
    available, _, _ = IMAGES[config.dataset]
    return config.train_examples or round(available * (1 - config.validation))


def minibatches_per_epoch(config: ConfigDict) -> int:
    """Number of minibatches of an epoch."""
    if config.dataset == TEXT:
        return _TEXT_TOKENS[config.vocabulary] // config.max_tokens
    return training_examples(config) // config.batch_size
