"""Settings and methods of the Lookbehind paper, and what its text leaves open."""

from collections.abc import Mapping, Sequence

from experiments.configs import cifar, imagenet
from experiments.methods.table import METHODS
from experiments.papers.setting import (
    DATASETS,
    EXAMPLES,
    LAPTOP_LIMITS,
    NETWORKS,
    Setting,
    noisy_digits,
)
from experiments.results.item import LAPTOP
from experiments.results.row import Params

RESNET_34 = ("CIFAR-10", "ResNet-34")
PAIRS = [
    RESNET_34,
    ("CIFAR-10", "WRN-28-2"),
    ("CIFAR-100", "ResNet-50"),
    ("CIFAR-100", "WRN-28-10"),
    ("ImageNet", "ResNet-18"),
]
FAMILIES = ("sam", "asam")
_TITLES = {"sam": "SAM", "asam": "ASAM"}

# Grids of the paper (5.2, 5.3 and the authors' README), and what scale laptop takes of them.
K = {"laptop": (2, 5), "paper": (2, 5, 10)}
ALPHA = (0.2, 0.5, 0.8)

SEEDS = {"laptop": 3, "paper": 3}
FIVE_SEEDS = {"laptop": 5, "paper": 5}


def of_scale(scale: str, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[Setting]:
    """The paper's datasets and networks; at scale laptop one setting stands for all of them."""
    return [noisy_digits()] if scale == LAPTOP else [_setting(*pair) for pair in pairs]


def _setting(dataset: str, network: str) -> Setting:
    if dataset == "ImageNet":
        config = imagenet.get_config()
        config.update(model="resnet18_imagenet", batch_size=256, eval_batch_size=256)
    else:
        config = cifar.get_config("lookbehind")
        config.update(dataset=DATASETS[dataset], model=NETWORKS[network])
    rho, asam_rho = (0.1, 1.0) if dataset == "CIFAR-100" else (0.05, 0.5)
    return Setting(f"{dataset}, {network}", config, EXAMPLES[dataset], rho, asam_rho)


def inner_steps(scale: str, setting: Setting) -> tuple[int, ...]:
    """The values of k of a grid; on ImageNet 2 only."""
    return (2,) if _is_imagenet(setting) else K[scale]


def default_k(setting: Setting) -> int:
    """The k of the rows for which the paper does not state one."""
    return 2 if _is_imagenet(setting) else 5


def _is_imagenet(setting: Setting) -> bool:
    return setting.config.dataset == DATASETS["ImageNet"]


def variants(family: str, k: int, alpha: float = 0.5) -> Mapping[str, Params]:
    """SAM or ASAM and its variants with inner steps: method -> arguments."""
    return {
        family: {},
        f"multistep_{family}": {"k": k},
        f"lookahead_{family}": {"k": k, "alpha": alpha},
        f"lookbehind_{family}": {"k": k, "alpha": alpha},
    }


def with_inner_steps(family: str, k: int) -> list[tuple[str, Params]]:
    """The variants without SAM or ASAM themselves."""
    return list(variants(family, k).items())[1:]


def base_method(params: Params) -> Params | None:
    """SAM or ASAM, with which a variant is compared."""
    family = METHODS[params["method"]].perturbation
    return None if params["method"] in (*FAMILIES, "none", "lookahead") else {"method": family}


def family_of(params: Params) -> str:
    """The title of SAM or ASAM, whichever a row is a variant of."""
    return _TITLES[METHODS[params["method"]].perturbation]


_VARIANTS = ("Multistep", "Lookahead", "Lookbehind")


def variant_title(params: Params) -> str:
    """The name of a variant of both SAM and ASAM, for items whose panels are the two."""
    for title in _VARIANTS:
        if params["method"] in [f"{title.lower()}_{family}" for family in FAMILIES]:
            return title
    return "SAM / ASAM"


NO_K_OR_ALPHA = (
    "k and alpha are not stated; the paper takes them from k = 2, 5, 10 and alpha = 0.2, 0.5, 0.8. "
    "Nothing is searched here: alpha = 0.5 and k = 5 for every method with inner steps (k = 2 on "
    "ImageNet)."
)
LAST_EPOCH = (
    "Whether accuracies are those of the best or of the last epoch is not stated: the last one is "
    "compared; the best one, which is chosen on the test set, is next to it."
)
ADAPTIVE_ALPHA = (
    "Adaptive alpha is that of equations 7 and 8, over the whole model; the authors' code takes "
    "one for each tensor, and so probably the published numbers do."
)
ASAM_SETTINGS = (
    "ASAM has eta = 0.01 and scales all weights (authors' code: eta = 0, biases not scaled). The "
    "base optimizer of Lookbehind is inside, on the fast weights, and BatchNorm's running "
    "statistics are those of the clean pass only."
)
TWO_K = " k = 2 and 5 only."
LAPTOP_RADII = (
    " Training radii are 0.5, 1 and 2 times the default (0.1, 0.2, 0.4 of SAM; 0.5, 1, 2 of ASAM) "
    "in place of the paper's 1, 2 and 4 times."
)
LIMITS = {"laptop": LAPTOP_LIMITS}
TWO_K_LIMITS = {"laptop": LAPTOP_LIMITS + TWO_K}
