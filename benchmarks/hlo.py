"""Counts in the text of a compiled program: kernels, memory traffic, copies, collectives.

An instruction of a loop body counts once per iteration, one of a conditional as in its longest
branch. What runs inside a fusion is part of one kernel.
"""

import collections
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_BYTES = {"pred": 1, "s4": 1, "u4": 1, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8, "c64": 8}
_BYTES |= {f"{sign}{bits}": bits // 8 for sign in "su" for bits in (8, 16, 32)} | {"f32": 4}
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Instructions that launch nothing: names for buffers, control flow, the second half of an
# asynchronous pair.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional",
    "call", "after-all", "opt-barrier", "partition-id", "replica-id", "add-dependency",
}  # fmt: skip


class Array(NamedTuple):
    """Size and place of an array.

    Attributes:
      size: number of elements.
      bytes: number of bytes.
      on_chip: whether it is in the on-chip memory of a TPU.
    """

    size: int
    bytes: int
    on_chip: bool


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
      name: its name, unique in the program.
      opcode: such as ``fusion``.
      results: the arrays it writes.
      operands: names of the instructions that it reads.
      text: the whole line.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str


class Counts(NamedTuple):
    """Counts of one run of a program.

    Attributes:
      kernels: launched kernels and collectives.
      reads: elements of large arrays that are read from the main memory of the device.
      writes: elements of large arrays that are written to it.
      copies: elements of large arrays that are copied within it.
      collectives: collective -> number of executions and bytes of its results.
    """

    kernels: int
    reads: int
    writes: int
    copies: int
    collectives: Mapping[str, tuple[int, int]]


def count(hlo: str, min_size: int = 1) -> Counts:
    """Counts what one run of a program executes.

    Args:
      hlo: text of the compiled program.
      min_size: reads, writes and copies are counted of arrays with at least this many elements.
    """
    kernels = reads = writes = copies = 0
    collectives: dict[str, tuple[int, int]] = collections.defaultdict(lambda: (0, 0))
    for instruction, arrays, times in executed(hlo):
        opcode = instruction.opcode
        if opcode in _FREE or opcode.endswith("-done") or "ConcatBitcast" in instruction.text:
            continue
        kernels += times * _is_kernel(instruction)
        read, written = _traffic(instruction, arrays, min_size)
        reads += times * read
        writes += times * written
        if opcode in ("copy", "transpose", "copy-start", "slice-start") and read:
            copies += times * written
        collective = opcode.removesuffix("-start")
        if collective in _COLLECTIVES:
            number, size = collectives[collective]
            moved = sum(array.bytes for array in _results(instruction))
            collectives[collective] = (number + times, size + times * moved)
    return Counts(kernels, reads, writes, copies, dict(collectives))


def count_all_reduces(hlo: str) -> int:
    """Number of all-reduces that one run of a program executes."""
    return count(hlo).collectives.get("all-reduce", (0, 0))[0]


def executed(hlo: str) -> Iterator[tuple[Instruction, Mapping[str, tuple[Array, ...]], int]]:
    """The instructions that run, with the arrays of their computation and the number of runs."""
    computations, entry = _parse(hlo)

    def visit(
        name: str, times: int
    ) -> Iterator[tuple[Instruction, Mapping[str, tuple[Array, ...]], int]]:
        instructions = computations[name]
        arrays = {instruction.name: instruction.results for instruction in instructions}
        for instruction in instructions:
            yield instruction, arrays, times
            for called, trips in _called(instruction, computations):
                yield from visit(called, times * trips)

    return visit(entry, 1)


def _is_kernel(instruction: Instruction) -> bool:
    """Whether an instruction is neither an asynchronous copy nor on the scalar unit of a TPU."""
    if instruction.opcode in ("copy-start", "slice-start"):
        return False
    fused = instruction.opcode in ("fusion", "custom-call") or "all-" in instruction.opcode
    return fused or any(array.size > 1 for array in instruction.results)


def _traffic(
    instruction: Instruction, arrays: Mapping[str, tuple[Array, ...]], min_size: int
) -> tuple[int, int]:
    """Elements of large arrays that an instruction reads and writes in main memory."""
    results = _results(instruction)
    operands = [
        array for name in dict.fromkeys(instruction.operands) for array in arrays.get(name, ())
    ]
    if instruction.opcode == "slice-start":  # reads only the slice
        operands = [results[0]._replace(on_chip=operands[0].on_chip)]
    return _large(operands, min_size), _large(results, min_size)


def _results(instruction: Instruction) -> Sequence[Array]:
    """The arrays that an instruction writes: the results of a ``-start`` repeat its operands."""
    results = instruction.results
    match instruction.opcode:
        case "copy-start":  # destination, source, context
            return results[:1]
        case "slice-start":  # source, destination, context
            return results[1:2]
        case "all-gather-start" | "collective-permute-start":  # sources, destinations
            number = len(instruction.operands)
            return results[number : 2 * number]
    return results


def _large(arrays: Sequence[Array], min_size: int) -> int:
    return sum(array.size for array in arrays if array.size >= min_size and not array.on_chip)


def _called(
    instruction: Instruction, computations: Mapping[str, list[Instruction]]
) -> list[tuple[str, int]]:
    """The computations that an instruction runs at the level of kernels, and how often."""
    text = instruction.text
    if instruction.opcode == "while":
        (body,) = re.findall(r"body=%?([\w.-]+)", text)
        return [(body, _trip_count(text, computations))]
    if instruction.opcode == "conditional":
        listed = re.search(r"branch_computations=\{(.*?)\}", text)
        names = listed[1] if listed else " ".join(re.findall(r"\w+_computation=(%[\w.-]+)", text))
        branches = re.findall(r"%?([\w.-]+)", names)
        return [(max(branches, key=lambda name: _length(name, computations)), 1)]
    if instruction.opcode == "call":
        return [(name, 1) for name in re.findall(r"to_apply=%?([\w.-]+)", text)]
    if instruction.opcode == "async-start":
        return [(name, 1) for name in re.findall(r"calls=%?([\w.-]+)", text)]
    return []


def _trip_count(loop: str, computations: Mapping[str, list[Instruction]]) -> int:
    """Iterations of a loop: as annotated, or from the one constant of its condition (TPU)."""
    if annotated := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop):
        return int(annotated[1])
    (condition,) = re.findall(r"condition=%?([\w.-]+)", loop)
    constants = [
        int(value[1])
        for instruction in computations[condition]
        if (value := re.search(r"s32\[\]\S* constant\((\d+)\)", instruction.text))
    ]
    return constants[0] if len(constants) == 1 else 1


def _length(name: str, computations: Mapping[str, list[Instruction]]) -> int:
    return sum(
        1 + sum(trips * _length(called, computations) for called, trips in _called(i, computations))
        for i in computations[name]
    )


def _parse(hlo: str) -> tuple[dict[str, list[Instruction]], str]:
    computations: dict[str, list[Instruction]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            name = line.removeprefix("ENTRY ").split(" ")[0].lstrip("%")
            computations[name] = []
            if line.startswith("ENTRY "):
                entry = name
        elif match := re.match(r"  (?:ROOT )?%?([\w.-]+) = ", line):
            computations[name].append(_instruction(match[1], line, line[match.end() :]))
    return computations, entry


def _instruction(name: str, line: str, text: str) -> Instruction:
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    shapes, rest = text[:end], text[end:].lstrip()
    start = rest.index("(")
    operands = rest[start : start + _closing(rest[start:]) + 1]
    return Instruction(
        name,
        rest[:start],
        tuple(_array(*shape) for shape in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", shapes)),
        tuple(re.findall(r"%([\w.-]+)", operands)),
        line,
    )


def _closing(text: str) -> int:
    """Position of the parenthesis that closes the one at the start of ``text``."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position
    raise ValueError(f"unbalanced parentheses in {text!r}")


def _array(dtype: str, shape: str, layout: str) -> Array:
    size = 1
    for length in filter(None, shape.split(",")):
        size *= int(length)
    return Array(size, size * _BYTES.get(dtype, 1), "S(1)" in layout)
