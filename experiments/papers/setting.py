"""Settings: dataset, network and training settings that all methods of a table share."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import digits
from experiments.methods.table import METHODS
from experiments.results.row import Params, Row, in_order, method_string

NOTHING: Params = MappingProxyType({})


class Setting(NamedTuple):
    """Dataset, network and training settings, the same for all methods of a table.

    Attributes:
      name: its name in headings.
      config: the config, of the base optimizer alone.
      examples: number of training examples.
      rho: default radius of SAM.
      asam_rho: default radius of ASAM.
      trained_above: test accuracy in percent below which a run did not train; None if unknown.
    """

    name: str
    config: ConfigDict
    examples: int
    rho: float
    asam_rho: float
    trained_above: float | None = None

    def with_changes(self, **changes: Any) -> "Setting":
        """The setting with other values of some config keys."""
        config = deepcopy(self.config)
        config.update(changes)
        return self._replace(config=config)

    def radius(self, method: str) -> float:
        """The default radius for a method."""
        return self.asam_rho if METHODS[method].perturbation == "asam" else self.rho

    def row(
        self,
        method: str,
        arguments: Params = NOTHING,
        *,
        published: tuple[float, float | None] | None = None,
        params: Params = NOTHING,
        **changes: Any,
    ) -> Row:
        """The row of a method.

        Args:
          method: its name in the table of methods.
          arguments: its arguments; without ``rho``, the default radius.
          published: the paper's value.
          params: further parameters of the row.
          **changes: other keys of the config.
        """
        arguments = dict(arguments)
        if "rho" in METHODS[method].defaults:
            arguments.setdefault("rho", self.radius(method))
        config = self.with_changes(method=method_string(method, arguments), **changes).config
        params = {"setting": self.name, **params, "method": method, **in_order(method, arguments)}
        minibatches = (config.train_examples or self.examples) // config.batch_size
        return Row(params, config, published, self.trained_above, minibatches)


# The small setting: half of the digits' training images, 40% of their labels wrong, small batches,
# and enough epochs for the base optimizer to memorize every wrong label. Radii, rate and number of
# epochs were chosen by hand on a quarter of the training set held out, never on the test set; the
# numbers of that choice were not kept.
_DIGITS = {
    "train_examples": 704,
    "batch_size": 32,
    "epochs": 40,
    "learning_rate": 0.03,
    "save_every": 8,  # a run takes seconds
    "keep_every": 8,
}
# Lookbehind trains at these radii, with k = 5 too; Multistep with k = 5 does not. SAM and ASAM
# alone do better with twice of them.
_RHO, _ASAM_RHO = 0.2, 1.0
DIGITS_NETWORKS = {"ResNet-6": "resnet_digits", "WRN-10-1": "wrn10_1"}
_ALL_DIGITS = 1437
# SGD's test accuracy in percent, by training images and fraction of wrong labels, as published in
# lookbehind.table1 and aesam.table3. A run that is ten points below did not train.
SGD_ON_DIGITS: Mapping[tuple[int, float], float] = {
    (704, 0.4): 68.15,
    (_ALL_DIGITS, 0.2): 90.46,
    (_ALL_DIGITS, 0.4): 67.87,
    (_ALL_DIGITS, 0.6): 47.22,
    (_ALL_DIGITS, 0.8): 19.26,
}
_MARGIN = 10.0


def noisy_digits(
    network: str = "ResNet-6", label_noise: float = 0.4, *, all_images: bool = False
) -> Setting:
    """Digits with wrong labels, and a network small enough for two CPU cores."""
    config = digits.get_config()
    config.update(_DIGITS, model=DIGITS_NETWORKS[network], label_noise=label_noise)
    if all_images:
        config.train_examples = None
    images = _ALL_DIGITS if all_images else config.train_examples
    return Setting(
        f"{images:,} digits ({label_noise:.0%} wrong labels), {network}",
        config,
        _ALL_DIGITS,
        _RHO,
        _ASAM_RHO,
        SGD_ON_DIGITS[images, label_noise] - _MARGIN,
    )


DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet": "imagenet2012"}
EXAMPLES = {"CIFAR-10": 50_000, "CIFAR-100": 50_000, "ImageNet": 1_281_167}
NETWORKS = {
    "ResNet-18": "resnet18",
    "ResNet-32": "resnet32",
    "ResNet-34": "resnet34",
    "ResNet-50": "resnet50",
    "WRN-28-2": "wrn28_2",
    "WRN-28-10": "wrn28_10",
    "PyramidNet-110": "pyramidnet110",
    "ViT-S/4": "vit_s4",
}


def laptop_limits(networks: str = "a ResNet of six layers") -> str:
    """What the digits cannot show."""
    return (
        f"Digits with 40% wrong training labels and {networks} in place of the "
        "paper's datasets and networks: nothing is learned about differences between those. 360 "
        "test images make the accuracy of one run uncertain by about two points, hence the paired "
        "differences. All seeds have the same wrong labels, training images and test images: what "
        "another draw of these would change is not in the intervals. With twice the default radii, "
        "0.2 of SAM and 1.0 of ASAM, SAM and ASAM alone are much better, so that these favour "
        "methods that reach further; for Multistep with k = 5 they are too large: it does not "
        "train. Rate, radii and epochs were chosen by hand on held-out training images; the "
        "numbers of that choice were not kept."
    )


LAPTOP_LIMITS = laptop_limits()
IMAGENET = "ImageNet is trained in bfloat16 with weight decay 1e-4."


def against_row(name: str) -> Callable[[Params], Params | None]:
    """For ``Item.against``: all rows of a panel against the one whose parameter ``row`` is this."""
    return lambda params: None if params["row"] == name else {"row": name}


def shown_in(name: str, where: str = "") -> dict[str, str]:
    """The limits of an item whose runs and numbers at scale laptop are another item's."""
    return {"laptop": f"At this scale the numbers would be those of {name}{where}."}
