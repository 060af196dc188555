"""The four parts of an error become one sentence."""

import pickle

import pytest

from snnfer import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


def test_all_parts_in_order():
    error = errors.SnnferError("tau = 0.5", expected="above 1", cause="a rate", fix="pass 1 / rate")
    assert str(error) == "tau = 0.5; expected above 1; likely cause: a rate; fix: pass 1 / rate."


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "given."),
        ({"expected": "x"}, "given; expected x."),
        ({"cause": "y"}, "given; likely cause: y."),
        ({"fix": "z."}, "given; fix: z."),
    ],
)
def test_unknown_parts_are_left_out(parts, sentence):
    assert str(errors.SnnferError("given", **parts)) == sentence


def test_a_full_stop_is_never_doubled():
    assert str(errors.SnnferError("given.", expected="x.", fix="z.")) == "given; expected x; fix: z."


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_an_snnfer_error_with_a_docstring(cls):
    assert issubclass(cls, errors.SnnferError)
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_the_way_between_processes(cls):
    error = cls("given", expected="x", fix="z")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
