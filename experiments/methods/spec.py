"""Methods with their arguments as one string: ``lookbehind_sam:k=5,rho=0.05,alpha=adaptive``.

The form needs no quotes in a shell. A spec is parsed against a signature: a mapping from the
method's arguments to their defaults, whose types the given values must have.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from experiments.configs.lookup import near_miss

Value = bool | int | float | str
Signature = Mapping[str, Value]  # argument -> default


class Spec(NamedTuple):
    """A method's name and the arguments that were given, as text.

    Attributes:
      name: the method's name.
      given: argument to value, in the order in which they were given.
    """

    name: str
    given: Mapping[str, str]


def parse(text: str) -> Spec:
    """Splits ``name`` or ``name:key=value,key=value``; a name may be ``module:function``.

    Raises:
      ValueError: if the text has another form or gives an argument twice.
    """
    own = re.match(r"[\w.]+:\w+(?=:|$)", str(text))  # no = behind the first colon
    name, colon, rest = str(text).partition(":")
    if own:
        name, (colon, rest) = own[0], (str(text)[own.end() :][:1], str(text)[own.end() + 1 :])
    given: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise ValueError(wrong_form(text))
        if key in given:
            raise ValueError(f"the method {text!r} gives {key} twice.")
        given[key] = value
    return Spec(name.strip(), given)


def wrong_form(text: str) -> str:
    """The message for a string of another form."""
    return f"a method must have the form name or name:key=value,key=value, got {text!r}."


def write(name: str, arguments: Mapping[str, Value]) -> str:
    """The string with these arguments, in their order."""
    pairs = ",".join(f"{key}={write_value(value)}" for key, value in arguments.items())
    return f"{name}:{pairs}" if pairs else name


def bind(spec: Spec, signature: Signature) -> dict[str, Value]:
    """Every argument of the signature, in its order: the given value or else the default.

    Raises:
      ValueError: if the signature does not have one of the arguments, or a value has another type
        than the default; the message shows the signature.
    """
    for key in spec.given:
        if key not in signature:
            raise ValueError(
                f"{spec.name} has no argument {key}{near_miss(key, signature)}. "
                f"{describe(spec.name, signature)}"
            )
    try:
        return {
            key: _read(key, spec.given[key], default) if key in spec.given else default
            for key, default in signature.items()
        }
    except ValueError as error:
        raise ValueError(f"{error} {describe(spec.name, signature)}") from error


def describe(name: str, signature: Signature) -> str:
    """A sentence with the method's arguments and defaults, in the form that ``parse`` reads."""
    if not signature:
        return f"{name} takes no arguments."
    return f"Arguments and defaults: {write(name, signature)}"


def non_default(arguments: Mapping[str, Value], signature: Signature) -> dict[str, Value]:
    """The arguments that differ from their defaults."""
    return {key: value for key, value in arguments.items() if value != signature[key]}


def file_name(text: str) -> str:
    """The string as a file name, without characters that have a meaning in shells and paths."""
    return re.sub(r"[^\w.=+-]", "-", text)


def write_value(value: Value) -> str:
    """``true`` and ``false`` for bools, the shortest exact form for numbers, words as they are."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(key: str, text: str, default: Value) -> Value:
    """The value of the default's type. A default that is a word also allows numbers (alpha)."""
    value = next(_literals(text))
    if isinstance(default, bool):
        allowed, type_name = isinstance(value, bool), "true or false"
    elif isinstance(value, bool):
        allowed, type_name = False, "a number"
    elif isinstance(default, int):
        allowed, type_name = isinstance(value, int), "an integer"
    elif isinstance(default, float):
        allowed, type_name = not isinstance(value, str), "a number"
    else:
        return float(value) if isinstance(value, int) else value
    if not allowed:
        raise ValueError(f"{key} must be {type_name}, got {text!r}.")
    return float(value) if isinstance(default, float) else value


def _literals(text: str) -> Iterator[Value]:
    """The text as each type that it can be read as, the most specific one first."""
    if text.lower() in ("true", "false"):
        yield text.lower() == "true"
    for type_ in int, float:
        with suppress(ValueError):
            yield type_(text)
    yield text
