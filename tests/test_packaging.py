"""The package builds, its metadata are accepted, and it runs where only its dependencies are."""

import pathlib
import re
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import optax_lookbehind

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import jax, optax, optax_lookbehind as ol
from optax_lookbehind import sharpness
tx = optax.chain(ol.lookbehind_sam(2, 0.05, 0.5), optax.sgd(0.1))
w = jax.numpy.ones(3)
updates, state = tx.update(w, tx.init(w), w, grad_fn=lambda w, i: w)
print(ol.__version__, updates.shape)
"""


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_citation_names_this_version_and_both_papers():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == optax_lookbehind.__version__
    for paper in ("2307.16704", "2304.14647"):
        assert citation.count(f"https://arxiv.org/abs/{paper}") == 1


@pytest.mark.slow
def test_the_package_builds_and_runs_in_a_clean_environment(tmp_path):
    run(sys.executable, "-m", "build", "--outdir", tmp_path, ROOT)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)

    names = zipfile.ZipFile(wheel).namelist()
    assert {"optax_lookbehind/py.typed", "optax_lookbehind/_core/ascent.py"} <= set(names)
    assert {name.split("/")[0] for name in names} == {
        "optax_lookbehind",
        f"optax_lookbehind-{optax_lookbehind.__version__}.dist-info",
    }
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"} <= members
    assert not any(name.startswith(("tests", "experiments")) for name in members)

    python = tmp_path / "clean" / "bin" / "python"
    venv.create(tmp_path / "clean", with_pip=True)
    run(python, "-m", "pip", "install", "--quiet", wheel)
    expected = f"{optax_lookbehind.__version__} (3,)\n"
    assert run(python, "-c", PROGRAM, cwd=tmp_path) == expected  # not the sources beside it
