"""One process at a time writes into a folder."""

import subprocess
import sys

import pytest

from experiments.storage.lock import only_writer, try_lock

HOLD = (
    "import sys; from pathlib import Path; from experiments.storage.lock import only_writer\n"
    "with only_writer(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
)


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path, pytestconfig):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=pytestconfig.rootpath,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=str(tmp_path)):
            only_writer(tmp_path).__enter__()
        other.kill()
    with only_writer(tmp_path):
        pass


def test_a_process_may_write_to_the_folder_that_it_has_locked(tmp_path):
    with try_lock(tmp_path) as mine, only_writer(tmp_path):
        assert mine
    with only_writer(tmp_path), try_lock(tmp_path) as again:
        assert not again


def test_a_system_without_file_locks_is_named():
    code = "import sys; sys.modules['fcntl'] = None; import experiments.storage.lock"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "on Windows use it in WSL" in done.stderr
