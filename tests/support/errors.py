"""Expected errors: the argument's name and value, not the sentence around them."""

import re

import pytest

_NO_VALUE = object()


def raises(name, value=_NO_VALUE):
    """Expects a ValueError that begins with the argument's name and shows its value."""
    shown = "" if value is _NO_VALUE else rf".*{re.escape(repr(value))}"
    return pytest.raises(ValueError, match=rf"(?s)^{re.escape(name)}(?!\w){shown}")
