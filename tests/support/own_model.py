"""A user's model and dataset, named in configs by import path."""

from flax import nnx

from experiments import data


class OwnModel(nnx.Module):
    """Two layers with dropout between them."""

    def __init__(self, num_classes, channels, image_size, rngs):
        self.hidden = nnx.Linear(image_size**2 * channels, 16, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(16, num_classes, rngs=rngs)

    def __call__(self, images):
        x = images.reshape(len(images), -1)
        return self.out(self.dropout(nnx.relu(self.hidden(x))))


def load(data_dir):
    """The digits by another name."""
    del data_dir
    return data.load("digits")


def load_nothing(data_dir):
    """A function that returns no dataset."""
    del data_dir


def no_module(num_classes, channels, rngs):
    """A function that returns no model."""
    del num_classes, channels, rngs
