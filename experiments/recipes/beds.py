"""Testbeds: dataset, network and training settings of the papers' columns, at each scale.

Budgets of the scale ``gpu`` are estimates from the networks' operations (28 gradients a step for
the twelve rows of Table 1, 25 minutes, 40% of an H100's bfloat16 peak); not measured on a GPU.
"""

from copy import deepcopy
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import cifar, digits, imagenet
from experiments.recipes.recipe import GPU, LAPTOP, PAPER, Cell


class Bed(NamedTuple):
    """A testbed: dataset, network and training settings, the same for all methods of a column.

    Attributes:
      column: label of the column.
      config: the config, of the base optimizer alone.
      rho: default radius of SAM here.
      asam_rho: default radius of ASAM here.
    """

    column: str
    config: ConfigDict
    rho: float
    asam_rho: float

    def with_changes(self, **changes: Any) -> "Bed":
        """The testbed with other values of some config keys."""
        config = deepcopy(self.config)
        config.update(changes)
        return self._replace(config=config)


def cell(
    bed: Bed,
    row: str,
    method: str,
    *,
    column: str | None = None,
    series: str = "",
    x: float | None = None,
    y: float | None = None,
    **changes: Any,
) -> Cell:
    """The cell of a method on a testbed.

    Args:
      bed: the testbed.
      row: label of the row.
      method: the method; ``{rho}`` and ``{asam_rho}`` stand for the testbed's radii.
      column: label of the column, if not the testbed's.
      series: the line of a figure; the row's label by default.
      x: horizontal coordinate in a figure.
      y: vertical coordinate in a heat map.
      **changes: other keys of the config.
    """
    method = method.format(rho=bed.rho, asam_rho=bed.asam_rho)
    config = bed.with_changes(method=method, **changes).config
    return Cell(row, bed.column if column is None else column, config, series or row, x, y)


# The testbed of scale laptop: half of the digits' training images, 40% of their labels wrong, small
# batches, and enough epochs for the base optimizer to memorize every wrong label. Radii, rate and
# number of epochs were chosen by hand on a quarter of the training set held out, never on the test
# set; the numbers of that choice were not kept.
_LAPTOP = {
    "label_noise": 0.4,
    "train_examples": 704,
    "batch_size": 32,
    "epochs": 40,
    "learning_rate": 0.03,
    "save_every": 8,  # a run takes seconds
    "keep_every": 8,
}
# Lookbehind trains at these radii, with k = 5 too; Multistep with k = 5 does not. SAM and ASAM
# alone do better with twice of them.
_LAPTOP_RHO, _LAPTOP_ASAM_RHO = 0.2, 1.0
_LAPTOP_NETWORKS = {"ResNet-6": "resnet_digits", "WRN-10-1": "wrn10_1"}

_DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet": "imagenet2012"}
_NETWORKS = {
    "ResNet-18": "resnet18",
    "ResNet-32": "resnet32",
    "ResNet-34": "resnet34",
    "ResNet-50": "resnet50",
    "WRN-28-2": "wrn28_2",
    "WRN-28-10": "wrn28_10",
    "PyramidNet-110": "pyramidnet110",
    "ViT-S/4": "vit_s4",
}
# Epochs of 10,000 training images at scale gpu (ImageNet: of 20,480).
_GPU_EPOCHS = {
    "ResNet-18": 40,
    "ResNet-32": 40,
    "ResNet-34": 30,
    "ResNet-50": 25,
    "WRN-28-2": 40,
    "WRN-28-10": 8,
    "PyramidNet-110": 8,
    "ViT-S/4": 20,
}
_AESAM_EPOCHS = {"PyramidNet-110": 300, "ViT-S/4": 1200}  # 200 for the others

RESNET_34 = ("CIFAR-10", "ResNet-34")
LOOKBEHIND = [
    RESNET_34,
    ("CIFAR-10", "WRN-28-2"),
    ("CIFAR-100", "ResNet-50"),
    ("CIFAR-100", "WRN-28-10"),
    ("ImageNet", "ResNet-18"),
]
AESAM = [
    (dataset, network)
    for dataset in ("CIFAR-10", "CIFAR-100")
    for network in ("ResNet-18", "WRN-28-10", "PyramidNet-110", "ViT-S/4")
]


def column(dataset: str, network: str) -> str:
    """The label of a column."""
    return f"{dataset}, {network}"


def laptop(network: str = "ResNet-6", label_noise: float = 0.4) -> Bed:
    """Digits with wrong labels, and a network small enough for two CPU cores."""
    config = digits.get_config()
    config.update(_LAPTOP | {"model": _LAPTOP_NETWORKS[network], "label_noise": label_noise})
    column = _digits(704, label_noise, network)
    return Bed(column, config, _LAPTOP_RHO, _LAPTOP_ASAM_RHO)


def _digits(images: int, label_noise: float, network: str) -> str:
    return f"{images:,} digits ({label_noise:.0%} wrong labels), {network}"


def lookbehind(scale: str, pairs: list[tuple[str, str]] = LOOKBEHIND) -> list[Bed]:
    """The columns of the Lookbehind paper; at scale laptop one column stands for all of them."""
    if scale == LAPTOP:
        return [laptop()]
    return [_of_pair(scale, "lookbehind", *pair) for pair in pairs]


def aesam(scale: str, pairs: list[tuple[str, str]] = AESAM) -> list[Bed]:
    """The columns of the AE-SAM paper; at scale laptop one column stands for all of them."""
    if scale == LAPTOP:
        return [laptop()]
    return [_of_pair(scale, "aesam", *pair) for pair in pairs]


def aesam_networks(scale: str, pairs: list[tuple[str, str]]) -> list[Bed]:
    """The same for tables and figures about several networks; two networks at scale laptop."""
    if scale == LAPTOP:
        return [laptop(network) for network in _LAPTOP_NETWORKS]
    return aesam(scale, pairs)


def noisy(scale: str, noise: float, network: str = "ResNet-18") -> Bed:
    """CIFAR-10 (at scale laptop: digits) with a fraction of the training labels wrong."""
    if scale == LAPTOP:
        small = {"ResNet-18": "ResNet-6", "ResNet-32": "WRN-10-1"}[network]
        # All images: with 80% wrong labels the right ones would be too few for any method.
        bed = laptop(small, noise).with_changes(train_examples=None)
        return bed._replace(column=_digits(1437, noise, small))
    bed = _of_pair(scale, "aesam", "CIFAR-10", network).with_changes(label_noise=noise)
    return bed._replace(column=f"{network}, {noise:.0%} wrong labels")


def _of_pair(scale: str, paper: str, dataset: str, network: str) -> Bed:
    if dataset == "ImageNet":
        config = _imagenet(paper)
    else:
        config = cifar.get_config(paper)
        config.update(dataset=_DATASETS[dataset], model=_NETWORKS[network])
        if paper == "aesam" and scale == PAPER:
            epochs = _AESAM_EPOCHS.get(network, 200)
            config.update(epochs=epochs, keep_every=epochs // 10)
    if scale == GPU:
        config.update(_gpu_budget(dataset, network))
    rho, asam_rho = (0.1, 1.0) if dataset == "CIFAR-100" and paper == "lookbehind" else (0.05, 0.5)
    return Bed(column(dataset, network), config, rho, asam_rho)


def _imagenet(paper: str) -> ConfigDict:
    """ImageNet from scratch: ResNet-18 in the Lookbehind paper, ResNet-50 in the AE-SAM paper."""
    config = imagenet.get_config()
    if paper == "lookbehind":
        config.update(model="resnet18_imagenet", batch_size=256, eval_batch_size=256)
    return config


def _gpu_budget(dataset: str, network: str) -> dict[str, Any]:
    if dataset == "ImageNet":
        return {"train_examples": 20_480, "epochs": 4, "keep_every": 2}
    epochs = _GPU_EPOCHS[network]
    return {
        "dtype": "bfloat16",
        "train_examples": 10_000,
        "epochs": epochs,
        "keep_every": max(1, epochs // 4),
    }
