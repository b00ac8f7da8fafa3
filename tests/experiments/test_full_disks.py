"""Disks that are full, read-only, or out of quota or files: one line, and the run can go on."""

import contextlib
import os
import resource
import shutil
import subprocess
import time

import pytest

from experiments import train
from experiments.configs import digits
from experiments.storage import disk as disks
from experiments.training.checkpoints import Checkpoints

NO_SPACE = "No space left on device"
FILES = {"config.json", "metrics.jsonl", "timing.jsonl", "versions.json", "events", "checkpoints"}


@pytest.fixture
def config(_tiny_model):
    config = digits.get_config()
    config.update(model="dense", epochs=4, batch_size=256, train_examples=512, method="sam")
    return config


@pytest.fixture
def disk(tmp_path):
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def volume(tmp_path):
    """A volume of a file system that has quotas."""
    if os.geteuid() or not shutil.which("mkfs.btrfs"):
        pytest.skip("a quota needs root and btrfs-progs")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False).returncode:
        pytest.skip("the kernel cannot mount btrfs")
    subprocess.run(["btrfs", "quota", "enable", folder], check=True)
    command = ["btrfs", "subvolume", "create", folder / "volume"]
    subprocess.run(command, check=True, capture_output=True)
    yield folder / "volume"
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def no_quota_left(volume):
    """Lowers the quota of a volume below what is in it."""
    # The first volume of a file system has the number 256; nothing can be changed from within it.
    group, parent = "0/256", volume.parent
    subprocess.run(["btrfs", "qgroup", "limit", "1", group, parent], check=True)
    yield
    subprocess.run(["btrfs", "qgroup", "limit", "none", group, parent], check=True)


@contextlib.contextmanager
def full(folder, left=0):
    """Fills a disk, with a few bytes left."""
    filler = folder / "filler"
    with open(filler, "wb") as file:
        free = shutil.disk_usage(folder).free
        os.posix_fallocate(file.fileno(), 0, max(free - left, 1))
    yield
    filler.unlink()


@contextlib.contextmanager
def read_only(folder):
    """Mounts a disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


@contextlib.contextmanager
def limited(kind, limit):
    """Lowers a limit of this process."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, hard))
    yield
    resource.setrlimit(kind, (soft, hard))


def no_more_files():
    """Allows no more open files than there are."""
    return limited(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) + 2)


def no_large_files(size=100_000):
    """Allows no files beyond a size."""
    return limited(resource.RLIMIT_FSIZE, size)


@contextlib.contextmanager
def after_epoch(epoch, fault, monkeypatch):
    """Enters a context when the checkpoint of an epoch has been written; 0: at the start."""
    save = Checkpoints.save
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:

        def save_then_break(self, state, history, step_metrics):
            save(self, state, history, step_metrics)
            if len(history) == epoch:
                self._wait()
                stack.enter_context(fault())

        patch.setattr(Checkpoints, "save", save_then_break)
        if epoch == 0:
            stack.enter_context(fault())
        yield


def stopped(config, workdir):
    """The message with which the run stops, within seconds."""
    started = time.monotonic()
    with pytest.raises(SystemExit) as error:
        train.main(config, workdir)
    assert time.monotonic() - started < 30
    return str(error.value)


@pytest.fixture(scope="module")
def expected(_tiny_model, tmp_path_factory):
    """The metrics of an undisturbed run."""
    config = digits.get_config()
    config.update(model="dense", epochs=4, batch_size=256, train_examples=512, method="sam")
    workdir = tmp_path_factory.mktemp("whole")
    train.main(config, workdir)
    return (workdir / "metrics.jsonl").read_bytes()


def assert_goes_on(config, workdir, expected):
    """Nothing half-written is left, and the same command trains to the same metrics."""
    found = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
    assert found <= FILES | {".lock"}, found
    if (workdir / "checkpoints").exists():
        assert all(path.name.isdecimal() for path in (workdir / "checkpoints").iterdir())
    train.main(config, workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == expected


FAULTS = {
    "full": (full, NO_SPACE),
    "nearly full": (lambda disk: full(disk, 50_000), NO_SPACE),
    "read-only": (read_only, "Read-only file system"),
    "large files": (lambda disk: no_large_files(), "File too large"),
    "open files": (lambda disk: no_more_files(), "Too many open files"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epoch"),
    # A disk on which files are open for writing cannot become read-only.
    [(name, epoch) for name in FAULTS for epoch in ([0] if name == "read-only" else [0, 1, 3])],
)
def test_a_broken_disk_ends_a_run_with_one_line(
    name, epoch, config, disk, expected, monkeypatch, capfd
):
    fault, reason = FAULTS[name]
    workdir = disk / "run"
    with after_epoch(epoch, lambda: fault(disk), monkeypatch):
        message = stopped(config, workdir)
    assert reason in message
    assert str(disk) in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
    assert_goes_on(config, workdir, expected)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_an_exhausted_quota_ends_a_run_with_one_line(
    epoch, config, volume, expected, monkeypatch, capfd
):
    workdir = volume / "run"
    with after_epoch(epoch, lambda: no_quota_left(volume), monkeypatch):
        message = stopped(config, workdir)
    assert "Disk quota exceeded" in message
    assert str(volume) in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
    assert_goes_on(config, workdir, expected)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_disk_that_fills_while_a_checkpoint_is_written(
    epoch, config, disk, expected, monkeypatch, capfd
):
    """There was room when it was looked for, and none when Orbax writes."""
    monkeypatch.setattr("experiments.storage.disk.reserve", lambda folder, num_bytes: None)
    workdir = disk / "run"
    with after_epoch(epoch, lambda: full(disk, 50_000), monkeypatch):
        message = stopped(config, workdir)
    assert NO_SPACE in message
    assert str(disk) in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
    monkeypatch.undo()
    assert_goes_on(config, workdir, expected)


@pytest.mark.parametrize("place", ["workdir", "checkpoints", "events", ".lock"])
def test_something_in_place_of_a_folder_or_file(place, config, tmp_path):
    workdir = tmp_path / "run"
    path = workdir if place == "workdir" else workdir / place
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if place == ".lock" else path.write_text("")
    message = stopped(config, workdir)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_folder_without_permission(epoch, config, tmp_path, expected, monkeypatch, capfd):
    workdir = tmp_path / "run"
    workdir.mkdir()

    @contextlib.contextmanager
    def without_permission():
        folders = [workdir, *(path for path in workdir.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:  # root may write everywhere
            for folder in tmp_path.parents[0], tmp_path.parents[1], tmp_path:
                folder.chmod(0o755)
            os.seteuid(65534)
        yield
        os.seteuid(user)
        for folder in folders:
            folder.chmod(0o755)

    with after_epoch(epoch, without_permission, monkeypatch):
        message = stopped(config, workdir)
    assert "Permission denied" in message
    assert str(workdir) in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
    assert_goes_on(config, workdir, expected)


def test_the_room_for_a_checkpoint_is_given_back(tmp_path):
    before = shutil.disk_usage(tmp_path).free
    disks.reserve(tmp_path, 1 << 20)
    assert not list(tmp_path.iterdir())
    assert abs(shutil.disk_usage(tmp_path).free - before) < 1 << 30
    with pytest.raises(FileNotFoundError, match="nowhere"):
        disks.reserve(tmp_path / "nowhere", 1)
