"""A table of rules reaches the layers that it names, and no other: known by having been called, not by names."""

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tfsaliency.rules import Epsilon, Flat, Gamma, WSquare, ZPlus, first, kind, last, operation

X = np.abs(np.random.default_rng(0).normal(size=(2, 6)))


def dense(names):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    stack = [layers.Dense(5, "relu", name=names[0]), layers.Dense(5, "relu", name=names[1])]
    return keras.Sequential([keras.Input((6,)), *stack, layers.Dense(3, name=names[2])])


def relevance(model, table):
    return tfs.LRP(model, table).explain(X, 0).values


def test_names_that_keras_chose_are_as_good_as_ones_own():
    """Keras calls the layers dense, dense_1 and dense_2: one name is the beginning of another, and that of a kind."""
    by_keras, by_hand = dense([None] * 3), dense(["one", "two", "three"])
    assert [layer.name for layer in by_keras.layers] == ["dense", "dense_1", "dense_2"]
    rules = [WSquare(), Gamma(5.0), Epsilon(0.5)]
    tables = [dict(zip((layer.name for layer in model.layers), rules, strict=True)) for model in (by_keras, by_hand)]
    ours, theirs = relevance(by_keras, tables[0]), relevance(by_hand, tables[1])
    np.testing.assert_array_equal(ours, theirs)
    # Each entry counts: none of them is shadowed by another.
    for place, layer in enumerate(by_keras.layers):
        other = tables[0] | {layer.name: Flat()}
        assert not np.allclose(relevance(by_keras, other), ours), place


def test_a_layer_may_have_the_name_of_a_kind_or_position():
    model = dense(["dense", "first", "Conv2D"])
    base = {kind("dense"): ZPlus()}
    plain = dense(["one", "two", "three"])
    for named, same in (("dense", "one"), ("first", "two"), ("Conv2D", "three")):
        np.testing.assert_array_equal(relevance(model, base | {named: Flat()}), relevance(plain, base | {same: Flat()}))


def test_a_convolution_is_found_by_the_name_that_keras_chose():
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)])
    inputs = np.random.default_rng(0).normal(size=(1, 6, 6, 1))
    named = {"conv2d": Flat(), "dense": Epsilon()}
    by_kind = {kind("convolution"): Flat(), kind("dense"): Epsilon()}
    maps = [tfs.LRP(model, table).explain(inputs, 0).values for table in (named, by_kind)]
    np.testing.assert_array_equal(*maps)


def test_layers_by_themselves_and_by_their_path():
    inner = keras.Sequential([layers.Dense(5, "relu", name="a"), layers.Dense(5, "relu", name="b")], name="inner")
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(3, name="a")(inner(x)))
    rest = {kind("dense"): Epsilon()}
    by_path = relevance(model, {"inner/a": Flat()} | rest)
    np.testing.assert_array_equal(by_path, relevance(model, {inner.layers[0]: Flat()} | rest))
    np.testing.assert_array_equal(by_path, relevance(model, {first(): Flat()} | rest))
    # A name is a layer's own path before it is the end of another's.
    np.testing.assert_array_equal(relevance(model, {"a": Flat()} | rest), relevance(model, {last(): Flat()} | rest))
    # The layers of a model inside are reached by its name; the more special entry counts.
    inside = relevance(model, {"inner": Flat()} | rest)
    np.testing.assert_array_equal(inside, relevance(model, {"inner/a": Flat(), "inner/b": Flat()} | rest))
    special = relevance(model, {"inner": Gamma(), "inner/a": Flat(), "inner/b": Flat()} | rest)
    np.testing.assert_array_equal(inside, special)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"dense": Flat()},
            r"No layer with weights is called 'dense'.*'one', 'two', 'three'.*tfs.rules.kind\('dense'\)",
        ),
        ({"on": Flat(), kind("dense"): Flat()}, "No layer with weights is called 'on'"),
        ({layers.Dense(2, name="another"): Flat(), kind("dense"): Flat()}, "is called 'another'"),
        ({"one": Flat()}, r"none for the dense map.*Add kind\('dense'\), or its layer 'two'.*The table has: 'one'"),
    ],
)
def test_entries_about_nothing_are_refused(table, message):
    table = {kind("dense"): Epsilon()} | table if "dense" in table else table
    with pytest.raises(ValueError, match=message):
        relevance(dense(["one", "two", "three"]), table)


def test_the_advice_of_the_refusal_works():
    assert np.abs(relevance(dense(["one", "two", "three"]), {"one": Flat(), kind("dense"): Epsilon()})).max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kind("conv"), "'convolution', 'dense', 'normalization'. Received: 'conv'"),
        (lambda: first("conv"), "Received: 'conv'"),
        (lambda: last("conv"), "Received: 'conv'"),
        (lambda: operation(3), "Received: 3"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_table_that_holds_a_layer_does_not_keep_its_model_alive():
    import gc
    import weakref

    model = dense(["one", "two", "three"])
    relevance(model, {model.layers[0]: Flat(), kind("dense"): Epsilon()})
    alive = weakref.ref(model)
    keras.backend.clear_session()
    del model
    gc.collect()
    assert alive() is None
