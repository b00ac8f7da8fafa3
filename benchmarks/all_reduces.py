"""All-reduces in a compiled program."""

import re


def count_all_reduces(hlo: str) -> int:
    """All-reduces that one run of a program executes.

    Args:
      hlo: the text of the compiled program. Those in a loop's body count as often as it turns.
    """
    own: dict[str, int] = {}
    calls: dict[str, list[tuple[str, int]]] = {}  # what each computation runs, and how often
    for line in hlo.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split(" ")[0].lstrip("%")
            own[name], calls[name] = 0, []
            if line.startswith("ENTRY "):
                entry = name
        elif line.startswith("  "):  # an instruction
            own[name] += len(re.findall(r" all-reduce(?:-start)?\(", line))
            turns = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:body|calls|to_apply)=%?([\w.-]+)", line):
                calls[name].append((called, int(turns[1]) if turns else 1))

    def total(name: str) -> int:
        return own[name] + sum(times * total(called) for called, times in calls[name])

    return total(entry)
