"""Counts in the text of a compiled program: kernels, memory traffic, copies, collectives.

An instruction of a loop body counts once per iteration, one of a conditional as in its longest
branch. What runs inside a fusion is part of one kernel.
"""

import collections
import re
from collections.abc import Collection, Iterator, Mapping
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
    """Type and size of an array.

    Attributes:
      size: number of elements.
      bytes: number of bytes.
    """

    size: int
    bytes: int


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
      kernels: launched kernels, copies and collectives.
      reads: elements of weight-sized arrays that are read.
      writes: elements of weight-sized arrays that are written.
      copies: elements of weight-sized arrays that are only copied.
      collectives: collective -> number of executions and bytes of its results.
    """

    kernels: int
    reads: int
    writes: int
    copies: int
    collectives: Mapping[str, tuple[int, int]]


def count(hlo: str, weight_sizes: Collection[int] = ()) -> Counts:
    """Counts what one run of a program executes.

    Args:
      hlo: text of the compiled program.
      weight_sizes: numbers of elements of the model's arrays; arrays of these sizes are counted as
        weight-sized.
    """
    kernels = reads = writes = copies = 0
    collectives: dict[str, tuple[int, int]] = collections.defaultdict(lambda: (0, 0))
    for instruction, arrays, times in executed(hlo):
        opcode = instruction.opcode.removesuffix("-start")
        if instruction.opcode in _FREE or instruction.opcode.endswith("-done"):
            continue
        kernels += times
        written = _weight_sized(instruction.results, weight_sizes)
        operands = (arrays.get(name, ()) for name in dict.fromkeys(instruction.operands))
        reads += times * sum(_weight_sized(operand, weight_sizes) for operand in operands)
        writes += times * written
        if opcode in ("copy", "transpose") or instruction.name.startswith(("copy", "transpose")):
            copies += times * written
        if opcode in _COLLECTIVES:
            number, size = collectives[opcode]
            # The result of an asynchronous start also contains the operands.
            results = instruction.results
            if instruction.opcode.endswith("-start") and opcode != "all-reduce":
                results = results[len(results) // 2 :]
            moved = sum(array.bytes for array in results)
            collectives[opcode] = (number + times, size + times * moved)
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
        tuple(_array(*shape) for shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes)),
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


def _array(dtype: str, shape: str) -> Array:
    size = 1
    for length in filter(None, shape.split(",")):
        size *= int(length)
    return Array(size, size * _BYTES.get(dtype, 1))


def _weight_sized(arrays: Collection[Array], weight_sizes: Collection[int]) -> int:
    return sum(array.size for array in arrays if array.size in weight_sizes)
