"""Counts in the text of compiled programs."""

import re


def count_all_reduces(hlo: str) -> int:
    """Number of all-reduces that one run of a program executes.

    Args:
      hlo: text of the compiled program. Instructions in a loop body count once per iteration.
    """
    own: dict[str, int] = {}
    calls: dict[str, list[tuple[str, int]]] = {}  # called computations and repetitions
    for line in hlo.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split(" ")[0].lstrip("%")
            own[name], calls[name] = 0, []
            if line.startswith("ENTRY "):
                entry = name
        elif line.startswith("  "):  # an instruction
            own[name] += len(re.findall(r" all-reduce(?:-start)?\(", line))
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:body|calls|to_apply)=%?([\w.-]+)", line):
                calls[name].append((called, int(trips[1]) if trips else 1))

    def total(name: str) -> int:
        return own[name] + sum(times * total(called) for called, times in calls[name])

    return total(entry)
