"""The methods of the comparison on noisy digits: searched grids, and the chosen settings.

``python -m experiments.papers.search digits`` repeats the choice, in hours. The methods of the demo
have 16 settings each, the further ones 8: half of the learning rates.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.configs import noisy_digits
from experiments.results.search import Candidates, Choice, choose, read

CHOSEN = Path(__file__).parent / "chosen.json"  # by held-out accuracy

_RATES = (0.005, 0.01, 0.02, 0.04)
_SHORT_RATES = (0.0025, 0.005, 0.01, 0.02)  # Lookbehind's steps are about k alpha times as long
_RADII = (0.1, 0.2, 0.4, 0.8)
_SMALL_RADII = (0.05, 0.1, 0.2, 0.4)  # where k steps reach k times as far
_ADAPTIVE = {"k": 2, "alpha": "adaptive"}


def _grid(rates: tuple[float, ...], radii: tuple[float, ...]) -> Mapping[str, tuple[float, ...]]:
    return {"learning_rate": rates, "rho": radii}


DEMO = [
    Candidates("none", {"learning_rate": _SHORT_RATES, "weight_decay": (5e-4, 5e-3, 2e-2, 5e-2)}),
    Candidates("sam", _grid(_RATES, _RADII)),
    Candidates("asam", _grid(_RATES, (0.5, 1.0, 2.0, 4.0))),
    Candidates("lookbehind_sam", _grid(_SHORT_RATES, _SMALL_RADII), _ADAPTIVE),
    Candidates("ae_sam", _grid(_RATES, _RADII)),
    Candidates("ae_looksam", _grid(_RATES, _RADII)),
    Candidates("ae_lookbehind_sam", _grid(_SHORT_RATES, _RADII), _ADAPTIVE),
]

_SAM_RATES = (0.02, 0.04)  # the upper half: there SAM and ASAM are best
_LOOKBEHIND_RATES = (0.005, 0.01)  # the middle: there Lookbehind with k = 2 is best


def _like_sam(method: str, radii: tuple[float, ...] = _RADII) -> Candidates:
    """A method with steps as long as SAM's."""
    return Candidates(method, _grid(_SAM_RATES, radii))


FURTHER = [
    Candidates("momentum_sam", _grid(_LOOKBEHIND_RATES, _RADII)),
    _like_sam("looksam"),
    _like_sam("ss_sam"),
    _like_sam("esam"),
    _like_sam("sam_on", (0.5, 1.0, 2.0, 4.0)),
    _like_sam("friendly_sam"),
    _like_sam("vasso"),
    _like_sam("usam", _SMALL_RADII),
    _like_sam("gsam"),
    _like_sam("gnp"),
    # It weighs the sharpness nine times as much as SAM, so the radii are about a ninth.
    _like_sam("wsam", (0.0125, 0.025, 0.05, 0.1)),
    _like_sam("wsam_decoupled"),
    _like_sam("stable_sam"),
    _like_sam("saner"),
    _like_sam("multistep_sam", _SMALL_RADII),
    Candidates("lookbehind_asam", _grid(_LOOKBEHIND_RATES, (0.25, 0.5, 1.0, 2.0)), _ADAPTIVE),
    Candidates("lookbehind_sam", _grid(_LOOKBEHIND_RATES, _SMALL_RADII), {"k": 5, "alpha": 0.5}),
]


def search(data_dir: str | None, runs: Path) -> Iterator[tuple[Path, list[Choice]]]:
    """The choices for all methods; the settings of a group are as many for every method."""
    del data_dir  # the digits are part of scikit-learn
    config = noisy_digits.get_config()
    yield CHOSEN, [each for group in (DEMO, FURTHER) for each in choose(config, group, runs)]


def chosen(candidates: list[Candidates]) -> list[Choice]:
    """The choice for each of the candidates, from ``chosen.json``."""
    choices = {_key(choice.method, choice.fixed): choice for choice in read(CHOSEN)}
    return [choices[_key(each.method, each.fixed)] for each in candidates]


def _key(method: str, fixed: Mapping[str, Any]) -> tuple:
    return method, *sorted(fixed.items())
