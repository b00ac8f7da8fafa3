"""Flags of the processes of a run on several hosts, and the connection between them."""

import jax
from absl import flags

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    'Several hosts: address and port of process 0, or "auto" to take address, count and id from '
    "the cluster's environment (Slurm, Open MPI, Cloud TPU, Kubernetes).",
)
_COUNT = flags.DEFINE_integer("process_count", None, "Several hosts: number of processes.", 1)
_ID = flags.DEFINE_integer("process_id", None, "Several hosts: id of this process, from 0.", 0)
_CONNECT_TIMEOUT = flags.DEFINE_integer(
    "connect_timeout", 120, "Several hosts: seconds to wait for the others at the start.", 1
)
_HEARTBEAT_TIMEOUT = flags.DEFINE_integer(
    "heartbeat_timeout", 20, "Several hosts: seconds of silence until a process counts as gone.", 1
)
_SHUTDOWN_TIMEOUT = 60  # seconds to wait for the others at the end, also after an error


def connect() -> None:
    """Joins the other processes if the command line names any. Call it before devices are used.

    Raises:
      ValueError: if the flags do not fit together, or "auto" does not find a cluster.
    """
    coordinator, count, process_id = _COORDINATOR.value, _COUNT.value, _ID.value
    if coordinator is None and count is None and process_id is None:
        return
    is_complete = None not in (coordinator, count, process_id)
    if coordinator == "auto":
        coordinator = None  # JAX asks the cluster
        is_complete = count is None and process_id is None
    if not is_complete:
        raise ValueError(
            "several processes need --coordinator=auto alone, or all of --coordinator=host:port, "
            f"--process_count and --process_id; got --coordinator={_COORDINATOR.value}, "
            f"--process_count={count} and --process_id={process_id}."
        )
    # JAX's service would handle SIGTERM itself, for programs that ask it at every step.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        coordinator,
        count,
        process_id,
        initialization_timeout=_CONNECT_TIMEOUT.value,
        heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT.value,
        shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT,
    )


def is_main_process() -> bool:
    """Whether this process is the one that writes logs."""
    return jax.process_index() == 0
