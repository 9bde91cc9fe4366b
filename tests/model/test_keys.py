"""Keys are equal where the same graph would be traced, and nowhere else."""

import gc
import importlib
import threading
import weakref
from dataclasses import dataclass

import keras
import numpy as np
import pytest

from tfsaliency.model.keys import key_of

NUMBER = 1


def reads_a_global(z):
    return z * NUMBER


def reads_a_global_inside(z):
    return (lambda inner: inner * NUMBER)(z)


def of_closure(number):
    return lambda z: z * number


def of_default(number):
    return lambda z, factor=number: z * factor


def of_keyword_default(number):
    return lambda z, *, factor=number: z * factor


def of_function_in_closure(number):
    inner = of_closure(number)
    return lambda z: inner(z) + 1


def of_array_in_closure(number):
    array = np.full(3, number)
    return lambda z: z * array


@dataclass
class Fields:
    number: int
    function: object = None


class Plain:
    def __init__(self, number):
        self.number = number

    def method(self, z):
        return z * self.number


@pytest.mark.parametrize(
    "make",
    [
        of_closure,
        of_default,
        of_keyword_default,
        of_function_in_closure,
        of_array_in_closure,
        Fields,
        lambda number: Fields(0, of_closure(number)),
        lambda number: [1, (number, "a")],
        lambda number: {"a": number},
        lambda number: np.arange(number),
        lambda number: np.full((2, 2), number),
    ],
)
def test_what_is_made_of_the_same_number_has_one_key_and_of_another_number_another(make):
    assert key_of(make(3)) == key_of(make(3))
    assert hash(key_of(make(3))) == hash(key_of(make(3)))
    assert key_of(make(3)) != key_of(make(4))


def test_values_that_python_takes_for_equal_and_a_graph_does_not():
    values = [1, 1.0, True, 1 + 0j, "1", b"1", [1], (1,)]
    # The same bytes.
    values += [np.zeros(4, "int32"), np.zeros(4, "float32"), np.zeros((2, 2), "float32")]
    assert len({key_of(value) for value in values}) == len(values)


def test_functions_of_other_code_are_others():
    assert key_of(lambda z: z + 1) != key_of(lambda z: z + 2)


@pytest.mark.parametrize("function", [reads_a_global, reads_a_global_inside])
def test_a_function_is_another_once_a_global_that_it_reads_has_changed(function, monkeypatch):
    before = key_of(function)
    assert key_of(function) == before
    monkeypatch.setitem(globals(), "NUMBER", 2)
    assert key_of(function) != before


@pytest.mark.parametrize("folder", ["site-packages", "code"])
def test_packages_of_other_environments_are_installed(folder, tmp_path, monkeypatch):
    """Read like the user's own code they would take minutes: a path may lead to them from ``PYTHONPATH``."""
    name = f"module_of_{folder.replace('-', '_')}"
    (tmp_path / folder).mkdir()
    (tmp_path / folder / f"{name}.py").write_text("FACTOR = 2\ndef scaled(x): return FACTOR * x\n")
    monkeypatch.syspath_prepend(tmp_path / folder)
    module = importlib.import_module(name)
    before = key_of(module.scaled)
    module.FACTOR = 3
    assert (key_of(module.scaled) == before) == (folder == "site-packages")


def test_a_function_that_reads_itself_has_a_key():
    def fall(z):
        return fall(z - 1) if z else z

    assert key_of(fall) == key_of(fall)


def test_any_other_object_is_equal_to_itself_only():
    one, other = Plain(1), Plain(1)
    assert key_of(one) == key_of(one)
    assert key_of(one) != key_of(other)
    assert key_of(one.method) == key_of(one.method)
    assert key_of(one.method) != key_of(other.method)


def test_an_object_that_is_gone_is_equal_to_none_that_takes_its_address():
    gone = Plain(1)
    address, key = id(gone), key_of(gone)
    assert key == key_of(gone)
    del gone
    # The next object of its size gets the memory that has just become free.
    heirs = [Plain(1) for _ in range(100)]
    heir = next((each for each in heirs if id(each) == address), None)
    if heir is None:
        pytest.skip("this Python gave the address to no other object")
    assert key_of(heir) != key
    assert key != key_of(heir)


def test_a_key_keeps_no_object_alive():
    held = Plain(1)
    alive = weakref.ref(held)
    keys = [key_of(value) for value in (held, [held], {"a": held}, held.method, lambda z, held=held: z, Fields(held))]
    del held
    gc.collect()
    assert alive() is None
    assert len(keys) == 6


def test_training_and_validation_are_no_change():
    """Keras keeps the iterator of the validation on the model, which no computation reads."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    seen = [key_of(model)]
    x, y = np.ones((4, 3)), np.ones((4, 2))
    model.fit(x, y, epochs=1, verbose=0)
    seen.append(key_of(model))
    during = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(key_of(model)))
    model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[during])
    assert seen == [seen[0]] * 4


class Context(threading.local):
    factor = 1


class Sampler:
    """As an installed package may have it."""

    __module__ = "numpy"
    factor = 1

    def __reduce__(self):
        raise TypeError("it holds a generator of random numbers")


@pytest.mark.parametrize("kind", [Context, Sampler])
def test_an_object_that_cannot_be_pickled(kind):
    """It is known by what it holds; what each thread has of its own, by what this thread sees."""
    held = kind()

    def reads(z):
        return z * held.factor

    before = key_of(reads)
    assert key_of(reads) == before
    held.factor = 2
    assert key_of(reads) != before
