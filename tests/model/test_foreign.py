"""Whatever can be called with tensors is explained: one network arrives in many ways and has one map."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers

import tfsaliency as tfs
from tests.harness import EXPLAINERS, OVER_A_LAYER, close, quick
from tfsaliency.model.foreign import ForeignModel

X = np.random.default_rng(0).normal(size=(2, 10, 10, 3)).astype("float32")


def stack(layers):
    return [
        layers.Conv2D(6, 3, activation="relu", name="first"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Conv2D(5, 3, padding="same", activation="silu" if layers is keras.layers else tf.nn.silu, name="last"),
        layers.GlobalAveragePooling2D(name="mean"),
        layers.Dense(4, activation="softmax", name="head"),
    ]


def sequential():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((10, 10, 3)), *stack(layers)])


WEIGHTS = sequential().get_weights()


def functional():
    x = y = keras.Input((10, 10, 3))
    for layer in stack(layers):
        y = layer(y)
    return keras.Model(x, y)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.stack = stack(layers)

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


class InFunction(Subclassed):
    @tf.function
    def call(self, x):
        return super().call(x)


class Compiled(Subclassed):
    @tf.function(jit_compile=True)
    def call(self, x):
        return super().call(x)


def in_tf_keras():
    return tf_keras.Sequential([tf_keras.layers.InputLayer((10, 10, 3)), *stack(tf_keras.layers)])


def with_weights(model):
    model(X)
    model.set_weights(WEIGHTS)
    return model


def network(x, weights=WEIGHTS):
    kernel, bias, kernel2, bias2, head, head_bias = weights
    y = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias), 2, 2, "VALID")
    y = tf.nn.silu(tf.nn.conv2d(y, kernel2, 1, "SAME") + bias2)
    return tf.nn.softmax(tf.reduce_mean(y, (1, 2)) @ head + head_bias)


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.values = [tf.Variable(weight) for weight in WEIGHTS]

    @tf.function(input_signature=[tf.TensorSpec([None, 10, 10, 3])])
    def __call__(self, x):
        return network(x, self.values)


@pytest.fixture(scope="module")
def arrivals(tmp_path_factory):
    def folder(name):
        return str(tmp_path_factory.mktemp("arrivals") / name)

    exported, of_module, of_tf_keras, file = map(folder, ("keras", "module", "tf_keras", "model.keras"))
    with_weights(sequential()).export(exported, verbose=False)
    module = Module()
    tf.saved_model.save(module, of_module, options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
    legacy = with_weights(in_tf_keras())
    legacy.save(of_tf_keras, save_format="tf")
    legacy.save(file)
    loaded = tf.saved_model.load(exported)
    x = keras.Input((10, 10, 3))
    return {
        "Sequential": with_weights(sequential()),
        "functional": with_weights(functional()),
        "subclassed": with_weights(Subclassed()),
        "under tf.function": with_weights(InFunction()),
        "under XLA": with_weights(Compiled()),
        "exported": loaded,
        "a signature": (loaded, "serve"),
        "a restored function": loaded.serve,
        "TFSMLayer": keras.Model(x, layers.TFSMLayer(exported, call_endpoint="serve")(x)),
        "tf_keras": legacy,
        "tf_keras from a file": tf_keras.models.load_model(file, {"silu": tf.nn.silu}),
        "tf_keras exported": tf.saved_model.load(of_tf_keras),
        "tf_keras from a SavedModel": tf_keras.models.load_model(of_tf_keras),
        "tf.Module": module,
        "tf.Module exported": tf.saved_model.load(of_module),
        "traced": module.__call__.get_concrete_function(),
        "tf.function": tf.function(network),
        "a function": tfs.as_model(network, tf.TensorSpec([None, 10, 10, 3])),
    }


EIGHT = (
    *("Sequential", "functional", "subclassed", "under tf.function", "exported", "TFSMLayer", "tf_keras"),
    "a function",
)
OTHERS = (
    *("under XLA", "a signature", "a restored function", "tf_keras from a file", "tf_keras exported", "tf.Module"),
    *("tf.Module exported", "traced", "tf.function", "tf_keras from a SavedModel"),
)
WITH_LAYERS = (
    *("functional", "subclassed", "under tf.function", "under XLA", "tf_keras", "tf_keras from a file"),
    "tf_keras from a SavedModel",
)


@pytest.mark.parametrize("way", EIGHT + OTHERS)
def test_the_gradient_is_that_of_the_logits_by_hand(arrivals, way):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.math.log(network(x))
        # A softmax says nothing about a shift of all logits, which a difference of two does not have.
        score = logits[:, 1] - logits[:, 2]
    explanation = tfs.Gradient(arrivals[way]).explain(X, lambda z: z[:, 1] - z[:, 2])
    close(explanation.values, tape.gradient(score, x).numpy(), 1e-5)
    assert explanation.explained == "the logits under Softmax"


@pytest.mark.parametrize("way", quick(EIGHT[1:], "subclassed", "TFSMLayer", "a function"))
def test_one_network_has_one_map_by_every_method_without_layers(arrivals, way):
    model = tfs.as_model(arrivals[way])
    for name, make in EXPLAINERS.items():
        if name not in OVER_A_LAYER:
            found, expected = (make(each).explain(X, [1, 2]) for each in (model, arrivals["Sequential"]))
            assert np.abs(found.values - expected.values).max() <= 1e-3 * np.abs(expected.values).max(), name
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", OTHERS)
def test_other_ways_have_the_same_maps(arrivals, way):
    for make in (tfs.DeepLIFT, tfs.LRP, tfs.Occlusion):
        found, expected = (make(arrivals[each]).explain(X, [1, 2]).values for each in (way, "Sequential"))
        close(found, expected, 1e-4)


def test_a_layer_of_a_saved_model_is_no_black_box(arrivals):
    """Methods that only ask explain the logits of it, as all others do."""
    layer = next(each for each in arrivals["TFSMLayer"].layers if isinstance(each, keras.layers.TFSMLayer))
    found, expected = (tfs.Occlusion(each, 5).explain(X, 1) for each in (layer, arrivals["Sequential"]))
    close(found.values, expected.values, 1e-4)
    assert found.explained == "the logits under Softmax"


def test_a_layer_of_a_saved_model_takes_ids_as_numpy_makes_them(tmp_path):
    """Its signature declares int32, and refused the int64 of NumPy with advice to add an axis."""
    table = tf.Variable(np.random.default_rng(0).normal(size=(10, 4)).astype("float32"))
    module = tf.Module()
    module.table = table

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.int32, name="ids")])
    def words(ids):
        return {"logits": tf.tanh(tf.reduce_mean(tf.gather(table, ids), 1))}

    tf.saved_model.save(module, str(tmp_path), signatures={"words": words})
    layer, ids = keras.layers.TFSMLayer(str(tmp_path), call_endpoint="words"), np.array([[1, 4, 2, 7, 9]])
    pooled = tf.reduce_mean(tf.gather(table, ids), 1)
    slope = (1 - np.tanh(pooled[0, 1]) ** 2) / 5
    np.testing.assert_allclose(tfs.Gradient(layer).explain(ids, 1).values, np.full((1, 5), slope), rtol=1e-5)


@pytest.mark.parametrize("way", WITH_LAYERS)
def test_activation_maps_where_layers_can_be_known(arrivals, way):
    for layer in (None, "first", "last"):
        found, expected = (tfs.GradCAM(arrivals[each], layer).explain(X, 1).values for each in (way, "Sequential"))
        close(found, expected, 1e-4)
    assert tfs.GradCAM(arrivals[way]).explain(X, 1).provenance["layer"] == "last"


def test_a_layer_of_tf_keras_is_known_as_an_object_and_in_tables_of_rules(arrivals):
    model = arrivals["tf_keras"]
    by_object = tfs.GradCAM(model, model.get_layer("last")).explain(X, 1).values
    np.testing.assert_array_equal(by_object, tfs.GradCAM(model, "last").explain(X, 1).values)
    kind, epsilon, gamma = tfs.rules.kind, tfs.rules.Epsilon(), tfs.rules.Gamma()
    table = {kind("convolution"): epsilon, kind("dense"): epsilon}
    tables = [{**table, layer: gamma} for layer in (model.get_layer("last"), "last")]
    one, other = (tfs.LRP(model, each).explain(X, 1).values for each in tables)
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - tfs.LRP(model, table).explain(X, 1).values).max() > 0.01 * np.abs(one).max()


def test_where_no_layer_can_be_known_the_message_says_so(arrivals):
    with pytest.raises(ValueError, match="calls no Keras layer, as a function or a SavedModel does not"):
        tfs.GradCAM(arrivals["exported"]).explain(X, 1)


# --- what the model declares ---


def test_inputs_are_checked_against_what_is_declared(arrivals):
    for way in ("exported", "tf_keras", "tf.Module", "a function", "traced"):
        with pytest.raises(ValueError, match=r"takes shape \(None, 10, 10, 3\).*Received: shape \(2, 10, 10, 1\)"):
            tfs.Gradient(arrivals[way]).explain(X[..., :1], 1)


PAIRS = {
    "each": lambda a, b: a @ tf.ones((2, 2)) + tf.reduce_sum(b, 1, keepdims=True),
    "a list": lambda parts: parts[0] @ tf.ones((2, 2)) + tf.reduce_sum(parts[1], 1, keepdims=True),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_inputs(name):
    a, b = np.ones((3, 2), "float32"), np.ones((3, 4), "float32")
    values = tfs.Gradient(PAIRS[name]).explain([a, b], 1).values
    np.testing.assert_allclose(values[0], np.ones((3, 2)))
    np.testing.assert_allclose(values[1], np.ones((3, 4)))


def test_inputs_by_their_names(tmp_path):
    x = {"a": keras.Input((2,), name="a"), "b": keras.Input((4,), name="b")}
    keras.utils.set_random_seed(0)
    model = keras.Model(x, layers.Dense(3)(layers.Concatenate()([x["a"], x["b"]])))
    model.export(str(tmp_path / "model"), verbose=False)
    inputs = {"a": np.ones((3, 2), "float32"), "b": np.ones((3, 4), "float32")}
    found = tfs.LRP(tf.saved_model.load(str(tmp_path / "model"))).explain(inputs, 1).values
    expected = tfs.LRP(model).explain(inputs, 1).values
    assert found.keys() == expected.keys()
    for key in found:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5)


def test_a_function_of_doubles_gets_them():
    weights = tf.constant([[1.0], [2.0]], tf.float64)
    model = tfs.as_model(lambda x: x @ weights, tf.TensorSpec([None, 2], tf.float64))
    np.testing.assert_allclose(tfs.Gradient(model).explain(np.ones((1, 2)), 0).values, [[1, 2]])


def test_several_outputs_keep_their_names(tmp_path):
    x = keras.Input((2,))
    model = keras.Model(x, {"kind": layers.Dense(3, name="kind")(x), "size": layers.Dense(1, name="size")(x)})
    model.export(str(tmp_path / "model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    values = tfs.Gradient(loaded).explain(np.ones((1, 2)), tfs.target.output("kind", 2)).values
    np.testing.assert_allclose(values[0], model.get_layer("kind").kernel[:, 2], rtol=1e-6)


def test_a_saved_model_without_signatures_lives_as_long_as_its_explainer(tmp_path):
    class Tripled(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(3.0)

        @tf.function
        def __call__(self, x):
            return self.weight * x

    module = Tripled()
    module(tf.ones([2, 3]))
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={})
    explainer = tfs.Gradient(tf.saved_model.load(str(tmp_path / "model")))
    np.testing.assert_allclose(explainer.explain(np.ones((2, 3)), 0).values[:, 0], 3)
    assert [float(each) for each in explainer.model.weights] == [3.0]


def test_a_layer():
    layer = layers.Dense(3)
    layer.build((None, 2))
    np.testing.assert_allclose(tfs.Gradient(layer).explain(np.ones((1, 2)), 1).values[0], layer.kernel[:, 1])


# --- weights and what changes ---


def test_new_weights_are_seen_and_change_the_fingerprint(arrivals):
    for way in ("tf.Module", "tf_keras", "exported", "traced"):
        model = tfs.as_model(arrivals[way])
        explainer = tfs.Gradient(model)
        before = explainer.explain(X, 1)
        variable = next(each for each in model.weights if each.shape == (3, 3, 3, 6))
        value = variable.numpy()
        variable.assign(2 * value)
        after = explainer.explain(X, 1)
        variable.assign(value)
        assert np.abs(after.values - before.values).max() > 0.1 * np.abs(before.values).max()
        assert after.provenance["fingerprint"] != before.provenance["fingerprint"]
        np.testing.assert_array_equal(explainer.explain(X, 1).values, before.values)


def test_weights_of_a_function_are_those_that_it_reads():
    variable, module = tf.Variable([[1.0], [2.0]]), Module()
    assert tfs.as_model(lambda x: x @ variable).weights[0] is variable
    assert len(tfs.as_model(lambda x: module(x)).weights) == len(WEIGHTS)
    assert tfs.as_model(network).weights == []


class Scaled(tf.Module):
    def __init__(self):
        super().__init__()
        self.scale, self._shift = 2.0, 0.0

    def __call__(self, x):
        return self.scale * x + self._shift * x


def test_changes_in_python_are_seen():
    module, power = Scaled(), 1
    explainer = tfs.Gradient(module)
    assert explainer.explain(np.ones((1, 3)), 0).values[0, 0] == 2
    module.scale = 3.0
    assert explainer.explain(np.ones((1, 3)), 0).values[0, 0] == 3
    module._shift = 1.0
    assert explainer.explain(np.ones((1, 3)), 0).values[0, 0] == 4
    explainer = tfs.Gradient(lambda x: x**power)
    assert explainer.explain(np.full((1, 3), 3.0), 0).values[0, 0] == 1
    power = 2
    assert explainer.explain(np.full((1, 3), 3.0), 0).values[0, 0] == 6


def test_changes_of_a_tf_keras_model_are_seen():
    model = with_weights(in_tf_keras())
    explainer = tfs.Gradient(model)
    before = explainer.explain(X, 1).values
    model.get_layer("first").activation = tf.nn.tanh
    after = explainer.explain(X, 1).values
    np.testing.assert_array_equal(after, tfs.Gradient(model).explain(X, 1).values)
    assert np.abs(after - before).max() > 0.01 * np.abs(before).max()


@pytest.mark.parametrize("way", ["tf.Module", "tf_keras", "exported", "tf.function", "a function"])
def test_the_model_is_called_once_for_all_explainers(arrivals, way, monkeypatch):
    calls, call = [], ForeignModel.__call__
    monkeypatch.setattr(ForeignModel, "__call__", lambda *args, **kwargs: calls.append(1) or call(*args, **kwargs))
    model = tfs.as_model(arrivals[way])
    tfs.forget(model)
    for make in (tfs.Gradient, tfs.LRP, tfs.Occlusion):
        make(model).explain(X, 1)
        make(model).explain(X[:1], 2)
    assert len(calls) == 1


# --- what is refused ---


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("model.keras", "Received: str. A path goes through keras.saving.load_model or tf.saved_model.load first"),
        (X, "Received: ndarray: the inputs go to explain"),
        (keras.Model, "Received: the class Model; pass an instance"),
        (3, "Received: int, which cannot be called"),
        (tf.Module(), r"Module, which cannot be called"),
        ((3, "serve"), r"the name of a signature. Received: \('int', 'str'\)"),
    ],
)
def test_what_is_no_model(model, message):
    with pytest.raises(TypeError, match=message):
        tfs.Gradient(model)


def test_a_signature_that_is_not_there(arrivals):
    with pytest.raises(TypeError, match=r"no signature 'score'. It has \['serve', 'serving_default'\]"):
        tfs.Gradient((arrivals["exported"], "score"))


def test_a_function_outside_of_tensorflow_is_sent_to_black_boxes():
    with pytest.raises(ValueError, match="If in_numpy computes outside of TensorFlow.*ask it with Occlusion or RISE"):
        tfs.Gradient(in_numpy).explain(X, 1)
    assert tfs.Occlusion(in_numpy, window=5).explain(X, 1).values.shape == (2, 10, 10, 1)


def in_numpy(x):
    return np.mean(x, axis=(1, 2))


def test_a_model_that_declares_its_inputs_takes_no_others():
    with pytest.raises(ValueError, match="declares its inputs itself: leave inputs out"):
        tfs.as_model(sequential(), tf.TensorSpec([None, 3]))


def test_as_model_returns_models_as_they_are():
    for model in (sequential(), tfs.BlackBox(in_numpy), tfs.as_model(network)):
        assert tfs.as_model(model) is model


def test_a_subclassed_model_of_tf_keras_is_traced_once():
    class Small(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.out = tf_keras.layers.Dense(2)

        def call(self, x):
            return self.out(x)

    model = Small()
    x = np.ones((2, 3), "float32")
    expected = model(x).numpy()[:, 1]
    explainer = tfs.Gradient(model)
    # pytest turns the warning of a model that changes into an error.
    np.testing.assert_allclose(explainer.explain(x, 1).scores, expected, rtol=1e-6)
    np.testing.assert_allclose(explainer.explain(x, 1).scores, expected, rtol=1e-6)


def test_a_vocabulary_of_tf_keras_is_a_weight_without_a_type():
    vectorizer = tf_keras.layers.TextVectorization(10, output_sequence_length=4)
    vectorizer.adapt(["a b", "c d"])
    text = tf_keras.Input((1,), dtype="string")
    y = tf_keras.layers.Flatten()(tf_keras.layers.Embedding(10, 3)(vectorizer(text)))
    model = tf_keras.Model(text, tf_keras.layers.Dense(2)(y))
    texts = np.array([["a c"]])
    explanation = tfs.Gradient(model).explain(texts, 1)
    np.testing.assert_allclose(explanation.scores, model(tf.constant(texts)).numpy()[:, 1], rtol=1e-5)
    assert explanation.tokens[0, :2].tolist() == ["a", "c"]


@pytest.mark.parametrize("lookup", ["strings", "integers", "text"])
def test_a_lookup_inside_an_exported_model(tmp_path, lookup):
    """Every method that finds vectors behind a lookup finds them behind an exported one."""
    text = keras.Input((1,), dtype="int64" if lookup == "integers" else "string")
    vectorizer = layers.TextVectorization(8, output_sequence_length=3)
    vectorizer.adapt(["x y z"])
    made = {
        "strings": layers.StringLookup(vocabulary=["x", "y"]),
        "integers": layers.IntegerLookup(vocabulary=[3, 7]),
        "text": vectorizer,
    }[lookup](text)
    y = layers.Embedding(8, 2)(made)
    model = keras.Model(text, layers.Dense(2)(layers.Flatten()(y)))
    model.export(tmp_path / "model", verbose=False)
    given = np.array([[3], [9]]) if lookup == "integers" else np.array([["x"], ["z"]])
    loaded = tf.saved_model.load(tmp_path / "model")
    for method in (tfs.Gradient, tfs.DeepLIFT):
        expected, found = (method(each).explain(given, 1).values for each in (model, loaded))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
