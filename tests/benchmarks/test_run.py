"""``python -m benchmarks.run``."""

import json
import subprocess
import sys

import pytest

from benchmarks import run


@pytest.mark.slow
@pytest.mark.parametrize("section", ["optax", "scaling"])
def test_a_quick_run_of_one_section_writes_its_table(section, tmp_path, pytestconfig):
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--only", section]
    done = subprocess.run(
        [*command, f"--out={tmp_path}"],
        capture_output=True,
        text=True,
        cwd=pytestconfig.rootpath,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "results.json").read_text())["tables"][section]
    assert table["rows"]
    assert table["title"] in (tmp_path / "results.md").read_text()


def test_an_unknown_section_is_an_error(capsys):
    with pytest.raises(SystemExit):
        run.main(["--only", "speed"])
    assert "'speed'" in capsys.readouterr().err
