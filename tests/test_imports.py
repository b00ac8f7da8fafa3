"""Imports go one way: a module imports from its own layer's folder and from lower layers only."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom up; folders and modules on one line do not import each other.
LIBRARY = [
    ["_core"],
    [
        "_perturbations",
        "_budget_perturbation",
        "_filters",
        "_combinations",
        "_policies",
        "_alpha",
        "_momentum_sam",
        "_gradient_functions",
    ],
    [
        "_reuse_direction",
        "_interpolated",
        "_rms_perturbation",
        "_multistep",
        "_lookbehind",
        "_wsam_decoupled",
        "sharpness",
    ],
    ["_aliases", "_check_step"],
    ["_check_grad_fn"],
]
EXPERIMENTS = [
    ["storage"],
    ["configs"],
    ["parallel"],
    ["data", "methods", "models"],
    ["decoding"],
    ["tasks"],
    ["training"],
    ["continual"],
    ["cli"],
    ["train"],
    ["results"],
    ["papers"],
    ["analyze", "demo", "predict", "reproduce", "translate"],
]


def modules(package):
    """Module name -> path of each module of a package, without its own ``__init__``."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    names.pop(f"{package}.__init__")
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imported(path, known):
    """The modules among ``known`` that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name in known}


def part(module):
    """The folder or module below the package; a folder's ``__main__`` is a command of its own."""
    _, *names = module.split(".")
    return ".".join(names) if names[-1] == "__main__" else names[0]


def graph(package):
    known = modules(package)
    return {name: imported(path, known) - {name} for name, path in known.items()}


@pytest.mark.parametrize(
    ("package", "layers"), [("optax_lookbehind", LIBRARY), ("experiments", EXPERIMENTS)]
)
def test_imports_go_from_higher_to_lower_layers(package, layers):
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    wrong = [
        f"{importer} -> {target}"
        for importer, targets in graph(package).items()
        for target in targets
        if part(importer) != part(target) and level[part(importer)] <= level[part(target)]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["optax_lookbehind", "experiments", "benchmarks"])
def test_modules_do_not_import_each_other_in_a_cycle(package):
    graphlib.TopologicalSorter(graph(package)).prepare()  # raises CycleError


def test_the_library_imports_jax_and_optax_only():
    allowed = {"jax", "optax", "numpy", "optax_lookbehind"}  # numpy: comes with jax
    standard = {"collections", "functools", "importlib", "inspect", "math", "numbers", "operator"}
    standard |= {"os", "typing", "warnings"}
    for path in modules("optax_lookbehind").values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module.split(".")[0]}
            else:
                continue
            assert names <= allowed | standard, path


@pytest.mark.parametrize("package", ["experiments", "benchmarks"])
def test_the_librarys_users_import_its_public_names_only(package):
    allowed = {"optax_lookbehind.sharpness"}
    if package == "benchmarks":  # the switch that unrolls the loop over inner steps
        allowed.add("optax_lookbehind._core.ascent")
    for path in (ROOT / package).rglob("*.py"):
        targets = imported(path, modules("optax_lookbehind"))
        assert targets <= allowed, path
