"""Flags of the processes of a run on several hosts, and the connection between them."""

import re

import jax
from absl import flags

from experiments.parallel import lost_processes

_MAX_PORT = 2**16 - 1
_MAX_COUNT = 1_000_000
_MAX_LENGTH = 200  # of JAX's explanation

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    'Several hosts: address and port of process 0, or "auto" to take address, count and id from '
    "the cluster's environment (Slurm, Open MPI, Cloud TPU, Kubernetes).",
)
_COUNT = flags.DEFINE_integer("process_count", None, "Several hosts: number of processes.")
_ID = flags.DEFINE_integer("process_id", None, "Several hosts: id of this process, from 0.")
_TIMEOUT = flags.DEFINE_integer(
    "connect_timeout", 120, "Several hosts: seconds to wait for the others at the start.", 1
)
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat_timeout", 20, "Several hosts: seconds of silence until a process counts as gone.", 1
)


def connect() -> None:
    """Joins the other processes, if the command line names any; to be called before using devices.

    Raises:
      ValueError: if flags are missing, out of range or exclude each other, or "auto" finds no
        cluster.
      ConnectionError: if the processes do not find each other in time.
    """
    coordinator, count, process_id = _COORDINATOR.value, _COUNT.value, _ID.value
    if coordinator is None:
        if (count, process_id) != (None, None):
            raise ValueError("--process_count and --process_id need --coordinator=host:port.")
    elif coordinator == "auto":
        if (count, process_id) != (None, None):
            raise ValueError(
                "--coordinator=auto takes process count and id from the cluster: omit "
                "--process_count and --process_id."
            )
        _join_cluster()
    elif count is None or process_id is None:
        raise ValueError("--coordinator=host:port needs --process_count and --process_id.")
    else:
        _check(coordinator, count, process_id)
        _initialize(coordinator, count, process_id)


def _check(coordinator: str, count: int, process_id: int) -> None:
    address = re.fullmatch(r"(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", coordinator)
    if not address or not 1 <= int(address[1]) <= _MAX_PORT:
        raise ValueError(
            f"--coordinator must be host:port with a port in [1, {_MAX_PORT}], got {coordinator!r}."
        )
    if not 1 <= count <= _MAX_COUNT:
        raise ValueError(f"--process_count must be in [1, {_MAX_COUNT}], got {count}.")
    if not 0 <= process_id < count:
        raise ValueError(f"--process_id must be in [0, {count}), got {process_id}.")


def _initialize(
    coordinator: str | None = None, count: int | None = None, process_id: int | None = None
) -> None:
    # JAX's service handles SIGTERM itself, for programs that ask it at every step; without it the
    # signal ends a run as on one host.
    jax.config.update("jax_enable_preemption_service", False)
    if count != 1:
        lost_processes.report(_TIMEOUT.value)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            process_id,
            initialization_timeout=_TIMEOUT.value,
            heartbeat_timeout_seconds=_HEARTBEAT.value,
        )
    except RuntimeError as error:  # an address in use
        reason = " ".join(str(error).split())[:_MAX_LENGTH]
        raise ConnectionError(
            "the processes cannot connect: is --coordinator the address of process 0, free and "
            f"reachable, and --process_id another one in each process? {reason}"
        ) from error


def _join_cluster() -> None:
    try:
        _initialize()
    except ValueError as error:  # says which variables JAX did not find
        raise ValueError(
            f"--coordinator=auto finds no cluster ({str(error).rstrip('.')}). Outside of one, name "
            "process 0: --coordinator=host:port --process_count=N --process_id=I."
        ) from error


def is_main_process() -> bool:
    """Whether this process is the one that writes logs."""
    return jax.process_index() == 0
