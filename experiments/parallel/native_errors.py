"""Says in one line why JAX ends a process of a run of several; a program of its own.

JAX's coordination service notices when a process is gone, cannot connect or connects twice. It then
aborts the others, which write pages of C++ and Python stacks, and calls no function in place of
that. What the libraries below Python write is therefore read by this program, as standard input
(:func:`experiments.parallel.lost_processes.report`), and passed on without those pages.
"""

import re
import sys
from collections.abc import Iterable, Iterator

_SERVICE = re.compile(r"[EF]\d{4} .*(coordination_service|client\.h)")
_FATAL = "Terminating process because the JAX distributed service"
_END = "*** Check failure stack trace"
GONE = "gone; the same commands resume after the last checkpoint"
_MAX_LENGTH = 200  # of JAX's explanation


def filtered(lines: Iterable[str], seconds: int) -> Iterator[str]:
    """The lines without those of the service; one sentence in place of its last ones.

    Args:
      lines: what the libraries write, and the program's own line that a process is gone.
      seconds: the time in which the processes had to connect.
    """
    held: list[str] = []
    for line in lines:
        if line.startswith("error: "):
            yield line
            return
        if held or _SERVICE.match(line):
            held.append(line)
        else:
            yield line
        if line.startswith(_END):
            break
    page = "".join(held)
    if _FATAL in page:
        yield f"error: {reason(page, seconds)}\n"
    else:
        yield from held


def reason(page: str, seconds: int) -> str:
    """What has happened, and what to do, from what the service wrote."""
    if "RegisterTask" in page:
        return (
            f"the processes have not found each other in {seconds} s: --coordinator must be the "
            "address of process 0, free and reachable, and --process_id another one in each process"
        )
    if again := re.search(r"(\d+) unexpectedly tried to connect", page):
        return (
            f"process {again[1]} has connected twice: --process_id must be another one in each "
            "process; after a failure, start all of them again"
        )
    if listed := re.search(r"stopped sending heartbeats\):\n([\d\n]+)", page):
        ids = listed[1].split()
        gone = f"process {ids[0]} is" if len(ids) == 1 else f"processes {', '.join(ids)} are"
    elif "PollForError" in page:  # the service itself, in process 0, does not answer
        gone = "process 0 is"
    else:
        status = " ".join(page.partition("absl::Status:")[2].split())[:_MAX_LENGTH]
        gone = f"the connection between the processes ({status}) is"
    return f"{gone} {GONE}"


def main() -> None:
    """Filters standard input into standard error until all of its writers have ended."""
    lines = open(0, encoding="utf-8", errors="replace")  # noqa: SIM115
    for line in filtered(lines, int(sys.argv[1])):
        sys.stderr.write(line)
        sys.stderr.flush()
    for _ in lines:  # the rest of the pages
        pass


if __name__ == "__main__":
    main()
