"""Flags of the processes of a run on several hosts, and the connection between them."""

import jax
from absl import flags

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    'Several hosts: address and port of process 0, or "auto" to take address, count and id from '
    "the cluster's environment (Slurm, Open MPI, Cloud TPU, Kubernetes).",
)
_COUNT = flags.DEFINE_integer("process_count", None, "Several hosts: number of processes.")
_ID = flags.DEFINE_integer("process_id", None, "Several hosts: id of this process, from 0.")


def connect() -> None:
    """Joins the other processes, if the command line names any; to be called before using devices.

    Raises:
      ValueError: if flags are missing or exclude each other, or "auto" finds no cluster.
    """
    coordinator, given = _COORDINATOR.value, (_COUNT.value, _ID.value)
    if coordinator is None:
        if given != (None, None):
            raise ValueError("--process_count and --process_id need --coordinator=host:port.")
    elif coordinator == "auto":
        if given != (None, None):
            raise ValueError(
                "--coordinator=auto takes process count and id from the cluster: omit "
                "--process_count and --process_id."
            )
        _join_cluster()
    elif None in given:
        raise ValueError("--coordinator=host:port needs --process_count and --process_id.")
    else:
        jax.distributed.initialize(coordinator, *given)


def _join_cluster() -> None:
    try:
        jax.distributed.initialize()
    except ValueError as error:  # says which variables JAX did not find
        raise ValueError(
            f"--coordinator=auto finds no cluster ({str(error).rstrip('.')}). Outside of one, name "
            "process 0: --coordinator=host:port --process_count=N --process_id=I."
        ) from error


def is_main_process() -> bool:
    """Whether this process is the one that writes logs."""
    return jax.process_index() == 0
