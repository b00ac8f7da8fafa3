"""``python -m benchmarks.run`` and ``benchmarks.gpu``."""

import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from benchmarks import gpu, run, timing
from benchmarks import job as jobs
from benchmarks.setups import QUICK
from optax_lookbehind._core import ascent


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


def test_the_measurements_for_a_gpu_run_at_toy_size(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "_MIN_SECONDS", 1e-9)  # one call a round
    monkeypatch.setattr(gpu.against_pytorch, "measure", lambda setup: gpu.Table("PyTorch", []))
    gpu.main(["--toy", f"--out={tmp_path}"])
    tables = json.loads((tmp_path / "results.json").read_text())["tables"]
    assert len(tables) == 4
    for table in list(tables.values())[:3]:
        assert [row["gradients"] for row in table["rows"]] == [1, 2, 3, 6, 6, 6, 11, 2, 1]
        assert all(row["ms"] > 0 for row in table["rows"])


def test_no_model_is_begun_after_the_time_is_over(tmp_path):
    gpu.main(["--toy", f"--out={tmp_path}", "--seconds=0"])
    tables = json.loads((tmp_path / "results.json").read_text())["tables"]
    assert [table["rows"] for table in tables.values()] == [[], [], []]
    assert "the time was over" in (tmp_path / "results.md").read_text()


def test_unrolled_steps_have_no_loop_and_the_same_numbers(monkeypatch):
    job = jobs.make_job(QUICK.models()["ResNet"], QUICK)
    tx = optax.chain(ol.lookbehind_sam(3, 0.05, 0.5), optax.sgd(0.1))
    rolled, form = jobs.lower_step(job, tx), jobs.flat(job)
    flat = jobs.lower_step(form, tx).compile()(jobs.initial_state(form, tx), job.batch)
    monkeypatch.setattr(ascent, "unroll", True)
    unrolled = jobs.lower_step(job, tx)
    assert "stablehlo.while" in rolled.as_text()
    assert "stablehlo.while" not in unrolled.as_text()
    states = [each.compile()(jobs.initial_state(job, tx), job.batch) for each in (rolled, unrolled)]
    for params in (states[1].params, form.unravel(flat.params)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), states[0].params, params
        )
