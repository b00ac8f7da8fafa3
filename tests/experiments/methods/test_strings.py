"""Methods with their arguments in one string."""

import re

import pytest

from experiments.methods import spec
from experiments.methods.table import METHODS, method


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sam", "sam"),
        ("sgd", "none"),
        ("sam:rho=0.05", "sam"),
        ("sam:rho=5e-2", "sam"),
        ("asam:rho=1", "asam:rho=1.0"),
        (
            "lookbehind_sam:alpha=adaptive_per_tensor,k=5",
            "lookbehind_sam:k=5,alpha=adaptive_per_tensor",
        ),
        (
            "lookbehind_sam:fast_optimizer=False, alpha=.5",
            "lookbehind_sam:alpha=0.5,fast_optimizer=false",
        ),
        ("ae_sam:lambda_2=inf,lambda_1=inf", "ae_sam:lambda_1=inf,lambda_2=inf"),
    ],
)
def test_the_canonical_string_has_the_arguments_in_order_without_defaults(text, canonical):
    assert str(method(text)) == canonical
    assert str(method(canonical)) == canonical
    assert method(text) == method(canonical)


@pytest.mark.parametrize("name", METHODS)
def test_a_string_with_every_argument_is_the_method_with_its_defaults(name):
    row = METHODS[name]
    assert method(spec.write(name, row.defaults)) == method(name)
    assert dict(method(name).arguments) == dict(row.defaults)


def test_values_have_the_types_of_the_defaults():
    arguments = method("lookbehind_asam:k=3,rho=1,alpha=1,switch_minibatch=true").arguments
    types = {key: type(value) for key, value in arguments.items()}
    assert types == {
        "k": int,
        "rho": float,
        "eta": float,
        "alpha": float,
        "fast_optimizer": bool,
        "switch_minibatch": bool,
        "rho_over_k": bool,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sam:k=5", ["no argument k", "sam:rho=0.05"]),
        ("lookbehind_sam:rh=0.1", ["no argument rh", "'rho'", "lookbehind_sam:k=2"]),
        ("none:rho=0.1", ["no argument rho", "takes no arguments"]),
        ("sam:rho=-1", ["rho", "-1", "sam:rho=0.05"]),
        ("sam:rho=many", ["rho", "'many'", "a number"]),
        ("sam:rho=nan", ["rho", "nan"]),
        ("sam:rho=true", ["rho", "a number", "'true'"]),
        ("lookbehind_sam:k=0", ["k", "0", "lookbehind_sam:k=2"]),
        ("lookbehind_sam:k=2.5", ["k", "an integer", "'2.5'"]),
        ("lookbehind_sam:alpha=adaptiv", ["alpha", "'adaptiv'"]),
        ("lookbehind_sam:alpha=-1", ["alpha", "-1"]),
        ("lookbehind_sam:alpha=none", ["alpha", "'none'"]),
        ("lookbehind_sam:fast_optimizer=1", ["fast_optimizer", "true or false", "'1'"]),
        ("lookahead_sam:alpha=1.5", ["alpha", "1.5", "lookahead_sam:k=5"]),
        ("lookahead:alpha=adaptive", ["alpha", "'adaptive'"]),
        ("esam:gamma=0", ["gamma", "0.0", "(0, 1]"]),
        ("ss_sam:probability=2", ["probability", "2"]),
        ("looksam:period=0", ["period", "0"]),
        ("ae_sam:decay=1", ["decay", "1"]),
        ("sam:", ["name:key=value", "'sam:'"]),
        ("sam:rho", ["name:key=value", "'sam:rho'"]),
        ("sam:rho=", ["name:key=value", "'sam:rho='"]),
        ("sam:rho=0.1,rho=0.2", ["rho", "twice"]),
        ("lookbehindsam:k=5", ["'lookbehindsam'", "did you mean 'lookbehind_sam'", "ae_sam"]),
        ("", ["unknown method ''"]),
    ],
)
def test_an_invalid_string_raises_with_the_argument_and_the_signature(text, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        method(text)
    assert all(word in str(error.value) for word in words), error.value


def test_a_string_makes_a_file_name():
    name = spec.file_name(str(method("ae_sam:lambda_1=-2,rho=0.1")))
    assert name == "ae_sam-rho=0.1-lambda_1=-2.0"
    assert re.fullmatch(r"[\w.=+-]+", name)
