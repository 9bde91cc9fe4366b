"""Class activation maps against their papers' formulas in NumPy, against each other, and on every kind of model."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tqdm import tqdm

import tfsaliency as tfs
import tfsaliency.engine.chunks
from tests import reference
from tests.kinds import KINDS
from tfsaliency import zoo

# A map behind a ReLU can leave nothing of a sample in networks as small and as random as these.
pytestmark = pytest.mark.filterwarnings("ignore:The values of the samples .* are zero")

GRADIENT_BASED = {
    "GradCAM": reference.grad_cam,
    "GradCAMPlusPlus": reference.grad_cam_plus_plus,
    "HiResCAM": reference.hires_cam,
    "LayerCAM": reference.layer_cam,
    "XGradCAM": reference.xgrad_cam,
}
X = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")


def ending(after):
    """A network of two convolutions, and what comes after them; the first part alone; and the last."""
    keras.utils.set_random_seed(3)
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    y = layers.Conv2D(6, 3, activation="relu", name="top")(y)
    a = keras.Input(y.shape[1:])
    below, above = keras.Model(x, y), keras.Model(a, after(a))
    return keras.Model(x, layers.Softmax()(above(y))), below, above


def gap_head(y):
    return layers.Dense(4)(layers.GlobalAveragePooling2D()(y))


def deep_head(y):
    y = layers.Conv2D(5, 2, activation="gelu")(y)
    return layers.Dense(4)(layers.Dense(7, "tanh")(layers.Flatten()(y)))


@functools.cache
def network(head):
    return ending({"gap": gap_head, "deep": deep_head}[head])


def activations_and_gradients(below, above, x, index):
    a = below(x)
    with tf.GradientTape() as tape:
        tape.watch(a)
        score = above(a)[:, index]
    return a.numpy(), tape.gradient(score, a).numpy(), score.numpy()


@pytest.mark.parametrize("head", ["gap", "deep"])
@pytest.mark.parametrize("name", GRADIENT_BASED)
def test_gradient_based_maps_equal_their_formulas(name, head):
    model, below, above = network(head)
    for index in (0, 2):
        a, g, scores = activations_and_gradients(below, above, X, index)
        explanation = getattr(tfs, name)(model, "top", upsample=False).explain(X, index)
        expected = np.array([GRADIENT_BASED[name](*each) for each in zip(a, g, strict=True)])
        np.testing.assert_allclose(explanation.values[..., 0], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)


def test_eigen_cam_is_the_first_singular_vector():
    model, below, _ = network("deep")
    # Fewer places than channels, and more: the two Gram matrices.
    wide = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(40, 3, strides=4, activation="relu"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    for each, inner in ((model, below), (wide, wide.layers[0])):
        values = tfs.EigenCAM(each, "top" if each is model else None, upsample=False).explain(X).values[..., 0]
        np.testing.assert_allclose(values, [reference.eigen_cam(a) for a in inner(X).numpy()], rtol=1e-3, atol=1e-4)


def test_score_cam_asks_about_masked_inputs():
    model, below, above = network("deep")
    values = tfs.ScoreCAM(model, "top", upsample=False).explain(X, 1).values[..., 0]
    expected = reference.score_cam(X, below(X).numpy(), lambda x: above(below(x)).numpy()[:, 1])
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["ScoreCAM", "AblationCAM"])
def test_channels_that_say_nothing_of_a_sample_cost_nothing(method):
    """One channel is zero for all samples, one for some; the map is that of scoring all."""
    model, below, above = network("deep")
    rows = []

    def counted(x):
        def count(x):
            rows.append(len(x))
            return x

        return tf.ensure_shape(tf.numpy_function(count, [x], x.dtype), x.shape)

    before, top = layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Conv2D(6, 3, activation="relu", name="top")
    other = keras.Sequential([keras.Input((12, 12, 3)), before, top, layers.Lambda(counted), above])
    other.set_weights(model.get_weights())
    kernel, bias = top.get_weights()
    activations = below(X).numpy()
    # Above what this channel reaches for one sample, and below it for others.
    bias[0], bias[1] = -100, bias[1] - np.sort(activations[..., 1].max(axis=(1, 2)))[1]
    top.set_weights([kernel, bias])
    found = keras.Model(other.inputs[0], top.output)
    alive = (found(X).numpy() > 0).any(axis=(1, 2))
    assert not alive[:, 0].any()
    assert 0 < alive[:, 1].sum() < len(X)
    explainer = getattr(tfs, method)(other, "top", upsample=False)
    # The first call asks the model about itself too.
    explainer.explain(X, 1)
    rows.clear()
    values = explainer.explain(X, 1).values[..., 0]
    # The samples themselves and, for Score-CAM, the samples behind a mask that hides everything.
    assert sum(rows) == alive.sum() + len(X) * (2 if method == "ScoreCAM" else 1)
    twin = {
        "ScoreCAM": lambda: reference.score_cam(X, found(X).numpy(), lambda x: above(found(x)).numpy()[:, 1]),
        "AblationCAM": lambda: reference.ablation_cam(found(X).numpy(), lambda a: above(a).numpy()[:, 1]),
    }
    np.testing.assert_allclose(values, twin[method](), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("head", ["gap", "deep"])
@pytest.mark.parametrize("index", [0, 1])
def test_ablation_cam_asks_about_silenced_channels(head, index):
    model, below, above = network(head)
    values = tfs.AblationCAM(model, "top", upsample=False).explain(X, index).values[..., 0]
    expected = reference.ablation_cam(below(X).numpy(), lambda a: above(a).numpy()[:, index])
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_identities_before_global_average_pooling_and_one_dense_layer():
    model, _, above = network("gap")
    explain = {
        name: getattr(tfs, name)(model, upsample=False).explain(X, 2)
        for name in ("CAM", "GradCAM", "HiResCAM", "XGradCAM", "AblationCAM")
    }
    values = {name: explanation.values[..., 0] for name, explanation in explain.items()}
    cam, places = values["CAM"], 3 * 3
    weights, bias = above.layers[-1].get_weights()
    np.testing.assert_allclose(cam, network("gap")[1](X).numpy() @ weights[:, 2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values["HiResCAM"], cam / places, rtol=1e-5, atol=1e-7)
    for name in ("GradCAM", "XGradCAM"):
        np.testing.assert_allclose(values[name], np.maximum(cam, 0) / places, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values["HiResCAM"].sum(axis=(1, 2)), explain["HiResCAM"].scores - bias[2], rtol=1e-4)


def test_identities_on_a_real_network():
    model, x = zoo.efficientnet_lite0(), zoo.preprocess(zoo.photographs()["coffee"])
    cam, grad_cam, hires = (method(model, upsample=False).explain(x) for method in (tfs.CAM, tfs.GradCAM, tfs.HiResCAM))
    np.testing.assert_allclose(hires.values, cam.values / 49, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grad_cam.values, np.maximum(cam.values, 0) / 49, rtol=1e-4, atol=1e-6)
    bias = model.layers[-1].bias.numpy()[cam.target[0]]
    np.testing.assert_allclose(hires.values.sum(), hires.scores[0] - bias, rtol=1e-5)


def test_cam_refuses_any_other_head():
    with pytest.raises(ValueError, match="global average pooling and one dense layer"):
        tfs.CAM(network("deep")[0], "top").explain(X)


def test_one_network_written_five_ways_has_one_map():
    keras.utils.set_random_seed(5)
    first, norm, second, head = (
        layers.Conv2D(6, 3),
        layers.BatchNormalization(),
        layers.Conv2D(6, 3),
        layers.Dense(4),
    )

    class Written(keras.Model):
        def call(self, x):
            y = tf.nn.relu(second(tf.nn.relu(norm(first(x)))))
            return head(tf.reduce_mean(y, axis=(1, 2)))

    def stack():
        return [first, norm, layers.ReLU(), second, layers.ReLU()]

    subclassed = Written()
    subclassed(X)
    # Biases that keep most units open.
    first.bias.assign([0.2] * 6)
    x = keras.Input((12, 12, 3))
    y = x
    for layer in stack():
        y = layer(y)
    functional = keras.Model(x, layers.Softmax()(head(layers.GlobalAveragePooling2D()(y))))
    sequential = keras.Sequential([*stack(), layers.Dropout(0.5), layers.GlobalAveragePooling2D(), head])
    sequential(X)
    backbone = keras.Sequential(stack(), name="backbone")
    x = keras.Input((12, 12, 3))
    nested = keras.Model(x, head(layers.GlobalAveragePooling2D()(backbone(x))))
    shared = layers.ReLU()
    x = keras.Input((12, 12, 3))
    y = shared(second(shared(norm(first(x)))))
    reused = keras.Model(x, head(layers.GlobalAveragePooling2D()(y)))
    for method in (tfs.GradCAM, tfs.HiResCAM, tfs.ScoreCAM, tfs.AblationCAM, tfs.CAM):
        values = [method(each).explain(X, 1).values for each in (functional, subclassed, sequential, nested, reused)]
        assert np.abs(values[0]).max() > 0
        for other in values[1:]:
            np.testing.assert_allclose(other, values[0], rtol=1e-4, atol=1e-6)


def test_loaded_model(tmp_path):
    model, _, _ = network("deep")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        tfs.GradCAM(loaded, "top").explain(X).values, tfs.GradCAM(model, "top").explain(X).values, atol=1e-6
    )


# Which layer is meant


def layer_of(model, inputs, layer=None):
    return tfs.EigenCAM(model, layer).explain(inputs, 1).provenance["layer"]


def test_default_layer_is_the_last_before_pooling():
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    y = layers.MaxPooling2D()(y)
    y = layers.Conv2D(4, 3, activation="relu", name="last")(y)
    y = layers.Dropout(0.5)(layers.MaxPooling2D()(y))
    y = layers.Dense(5, "relu")(layers.Flatten()(y))
    inputs = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    assert layer_of(keras.Model(x, layers.Dense(3)(y)), inputs) == "last"


@pytest.mark.parametrize(
    ("name", "layer"),
    [("VGG16", "block5_conv3"), ("ResNet50", "conv5_block3_out"), ("MobileNetV2", "out_relu"), ("DenseNet121", "relu")],
)
def test_default_layer_of_known_networks(name, layer):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=3)
    assert layer_of(model, np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")) == layer


def test_layer_by_object_name_path_and_call():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([layers.Conv2D(3, 3, padding="same", name="a"), layers.ReLU(name="b")], name="inner")
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(4, 3, name="a")(inner(inner(x)))
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    assert layer_of(model, X, "a") == "a"
    assert layer_of(model, X, ("inner/a", 0)) == "inner/a"
    assert layer_of(model, X, ("inner/a", 1)) == layer_of(model, X, ("inner/a", -1)) == "inner/a, call 1"
    assert layer_of(model, X, (inner.layers[1], 1)) == "inner/b, call 1"
    assert layer_of(model, X, ["a", ("b", 0)]) == "a; inner/b"
    with pytest.raises(ValueError, match=r"'inner/b' is called 2 times. Say which call"):
        layer_of(model, X, "b")
    with pytest.raises(ValueError, match=r"called 2 times. Received: call 5"):
        layer_of(model, X, ("b", 5))
    with pytest.raises(ValueError, match=r"calls no layer 'c'. These would do: inner/a, inner/b, inner, a"):
        layer_of(model, X, "c")
    with pytest.raises(ValueError, match=r"calls no layer 'stranger'"):
        layer_of(model, X, layers.Dense(2, name="stranger"))
    with pytest.raises(ValueError, match=r"'dense\w*' returns \(None, 2\), whose places do not lie over an input"):
        layer_of(model, X, model.layers[-1])
    for wrong in (3, [], [None], ("a", "b"), ("a", 1, 2)):
        with pytest.raises(ValueError, match="layer is None, a layer"):
            tfs.GradCAM(model, wrong)


def test_text_of_a_method_is_short():
    top = network("deep")[0].layers[1]
    assert (
        str(tfs.GradCAM(network("deep")[0], [top, ("top", 0)]))
        == f"GradCAM(layer=[{top.name!r}, ('top', 0)], upsample=True)"
    )
    baseline = {"table": np.zeros(100), "image": [0.5, np.arange(3)]}
    text = "baseline={'table': array of shape (100,), 'image': [0.5, array([0, 1, 2])]}"
    assert text in str(tfs.IntegratedGradients(network("deep")[0], baseline))


def test_the_two_calls_of_a_layer_have_their_own_maps():
    kind = KINDS["reused"]
    model, _ = kind.models()
    relu = next(layer for layer in model.layers if isinstance(layer, layers.ReLU))
    first, second = (tfs.HiResCAM(model, (relu, call)).explain(kind.inputs(2), 1).values for call in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    both = tfs.HiResCAM(model, [(relu, 0), (relu, 1)]).explain(kind.inputs(2), 1).values
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)


def test_a_name_that_several_layers_have():
    parts = [keras.Sequential([layers.Conv2D(2, 3, name="conv")], name=name) for name in ("left", "right")]
    x = keras.Input((12, 12, 3))
    y = layers.Flatten()(layers.Add()([part(x) for part in parts]))
    model = keras.Model(x, layers.Dense(2)(y))
    with pytest.raises(ValueError, match="left/conv, right/conv"):
        layer_of(model, X, "conv")
    assert layer_of(model, X, "right/conv") == "right/conv"


def test_maps_of_different_grids_are_averaged_after_resizing_only():
    model = network("deep")[0]
    names = [layer.name for layer in network("deep")[1].layers[1:]]
    assert tfs.GradCAM(model, names).explain(X).values.shape == (3, 12, 12, 1)
    with pytest.raises(ValueError, match=r"upsample=True. Received: \[\(5, 5\), \(3, 3\)\]"):
        tfs.GradCAM(model, names, upsample=False).explain(X)


def test_a_part_of_the_inputs_that_the_layer_does_not_see_gets_nothing():
    left, right = keras.Input((12, 12, 3)), keras.Input((12, 12, 3))
    backbone = keras.Sequential([layers.Conv2D(4, 3, activation="relu", name="top"), layers.GlobalAveragePooling2D()])
    y = layers.Concatenate()([backbone(left), backbone(right)])
    model = keras.Model([left, right], layers.Dense(2)(y))
    for call in (0, 1):
        values = tfs.HiResCAM(model, ("top", call)).explain([X, X], 1).values
        assert np.abs(values[call]).max() > 0
        assert values[call].shape == (3, 12, 12, 1)
        assert not values[1 - call].any()


# Transformers


def vision_transformer(class_token, registers=0):
    """Sequences of tokens with attention, read at the class token or as their mean."""

    class Token(layers.Layer):
        def build(self, shape):
            self.token = self.add_weight((1, 1 + registers, shape[-1]), "random_normal")

        def call(self, tokens):
            return tf.concat([tf.tile(self.token, [tf.shape(tokens)[0], 1, 1]), tokens], axis=1)

    keras.utils.set_random_seed(1)
    x = keras.Input((16, 16, 3))
    y = layers.Reshape((16, 8))(layers.Conv2D(8, 4, strides=4, name="patches")(x))
    if class_token:
        y = Token(name="token")(y)
    for i in range(2):
        z = layers.LayerNormalization(name=f"norm{i}")(y)
        y = layers.Add()([y, layers.MultiHeadAttention(2, 4, name=f"attention{i}")(z, z)])
        y = layers.Add()([y, layers.Dense(8, "gelu")(layers.LayerNormalization()(y))])
    y = layers.LayerNormalization(name="final")(y)
    y = y[:, 0] if class_token else layers.GlobalAveragePooling1D()(y)
    return keras.Model(x, layers.Dense(3, "softmax")(y))


PICTURES = np.random.default_rng(4).normal(size=(2, 16, 16, 3)).astype("float32")


@pytest.mark.parametrize("registers", [0, 4])
def test_class_token_is_dropped_and_its_last_layers_are_not_taken(registers):
    model = vision_transformer(True, registers)
    explanation = tfs.HiResCAM(model, upsample=False).explain(PICTURES, 1)
    # Behind the last attention the class token alone reaches the score: its map would be zero.
    assert explanation.provenance["layer"] == "norm1"
    assert explanation.values.shape == (2, 4, 4, 1)
    assert np.abs(explanation.values).min() > 0
    with pytest.warns(UserWarning, match="zero everywhere"):
        tfs.HiResCAM(model, "final").explain(PICTURES, 1)


def test_a_sum_around_the_only_attention_is_too_late_for_a_class_token():
    keras.utils.set_random_seed(0)
    ids = keras.Input((6,), dtype="int32")
    y = layers.LayerNormalization(name="first")(layers.Embedding(20, 8)(ids))
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 4)(y, y))
    model = keras.Model(ids, layers.Dense(2)(y[:, 0]))
    given = np.array([[1, 4, 5, 6, 7, 8]])
    explanation = tfs.HiResCAM(model).explain(given, 1)
    assert explanation.provenance["layer"] == "first"
    np.testing.assert_array_equal(explanation.values, tfs.HiResCAM(model, "first").explain(given, 1).values)


class Patches(layers.Layer):
    """Patches in rows of which TensorFlow does not know how many there are."""

    def call(self, pictures):
        cut = tf.image.extract_patches(pictures, [1, 4, 4, 1], [1, 4, 4, 1], [1] * 4, "VALID")
        return tf.reshape(cut, [tf.shape(pictures)[0], -1, cut.shape[-1]])


def test_patches_that_are_extracted_are_those_of_a_convolution():
    keras.utils.set_random_seed(0)
    dense, convolution = layers.Dense(8, name="dense"), layers.Conv2D(8, 4, strides=4)
    places = layers.Embedding(16, 8)
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    head = keras.Sequential([layers.GlobalAveragePooling1D(), layers.Dense(3)])

    def model_of(cut):
        x = keras.Input((16, 16, 3))
        y = cut(x) + places(tf.range(16))
        return keras.Model(x, head(y + attention(y, y)))

    models = [model_of(lambda x: dense(Patches()(x))), model_of(lambda x: layers.Reshape((16, 8))(convolution(x)))]
    convolution.set_weights([dense.get_weights()[0].reshape(4, 4, 3, 8), dense.get_weights()[1]])
    for layer in (None, "attention"):
        values, expected = (tfs.GradCAM(model, layer, upsample=False).explain(PICTURES, 1).values for model in models)
        assert values.shape == (2, 4, 4, 1)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"attention/query' returns .*do not lie over an input"):
        tfs.GradCAM(models[0], "attention/query").explain(PICTURES, 1)


def test_a_model_within_a_lambda_and_channels_that_are_put_behind():
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(4, 3, activation="relu", name="top")
    inner = keras.Sequential([keras.Input((16, 16, 3)), convolution, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    expected = tfs.GradCAM(inner).explain(PICTURES, 1).values
    around = keras.Sequential([keras.Input((16, 16, 3)), layers.Lambda(lambda x: inner(x))])
    np.testing.assert_allclose(tfs.GradCAM(around).explain(PICTURES, 1).values, expected, rtol=1e-5)
    in_front = keras.Sequential([keras.Input((3, 16, 16)), layers.Permute((2, 3, 1)), inner])
    found = tfs.GradCAM(in_front).explain(np.moveaxis(PICTURES, -1, 1), 1).values
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, rtol=1e-5)


def test_tokens_lie_in_the_order_of_the_picture():
    """Only the patch in the second row and third column is alive: the map is where it is."""
    x = keras.Input((16, 16, 1))
    patches = layers.Conv2D(1, 4, strides=4, use_bias=False, kernel_initializer="ones", name="patches")(x)
    y = layers.Dense(1, use_bias=False, kernel_initializer="ones", name="tokens")(layers.Reshape((16, 1))(patches))
    model = keras.Model(
        x, layers.Dense(1, use_bias=False, kernel_initializer="ones")(layers.GlobalAveragePooling1D()(y))
    )
    picture = np.zeros((1, 16, 16, 1), "float32")
    picture[0, 4:8, 8:12] = 1
    values = tfs.GradCAM(model, upsample=False).explain(picture, tfs.target.binary(1)).values[0, ..., 0]
    assert values.shape == (4, 4)
    np.testing.assert_array_equal(np.argwhere(values), [[1, 2]])


def test_mean_of_tokens_and_windows_on_a_grid():
    assert tfs.GradCAM(vision_transformer(False)).explain(PICTURES).provenance["layer"] == "final"
    # As in Swin: tokens that go back and forth between a sequence and a grid of windows.
    x = keras.Input((16, 16, 3))
    y = layers.LayerNormalization(name="grid")(layers.Conv2D(6, 2, strides=2)(x))
    windows = layers.Reshape((16, 4, 6))(y)
    windows = layers.MultiHeadAttention(2, 3, attention_axes=(2,))(windows, windows)
    y = layers.Dense(6, "gelu", name="merged")(layers.Reshape((64, 6))(windows))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))
    explanation = tfs.GradCAM(model, upsample=False).explain(PICTURES)
    assert (explanation.provenance["layer"], explanation.values.shape) == ("merged", (2, 8, 8, 1))
    assert tfs.GradCAM(model, "grid", upsample=False).explain(PICTURES).values.shape == (2, 8, 8, 1)


def test_input_gradient_is_not_taken():
    """Nothing below the layer is differentiated: an operation without a gradient there does not matter."""
    x = keras.Input((12, 12, 3))
    y = layers.Lambda(lambda z: tf.cast(tf.argsort(z, axis=-1), tf.float32))(x)
    y = layers.Conv2D(4, 3, name="top")(y)
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    assert np.abs(tfs.HiResCAM(model).explain(X).values).max() > 0
    with pytest.raises(ValueError, match="No gradient reaches"):
        tfs.Gradient(model).explain(X)


class Suppressed(layers.Layer):
    """The scores of the boxes that a non-maximum suppression leaves."""

    def __init__(self, combined):
        super().__init__()
        self.combined = combined

    def call(self, boxes_and_scores):
        boxes, scores = boxes_and_scores
        if self.combined:
            return tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 3, 3).nmsed_scores
        kept, _ = tf.image.non_max_suppression_padded(boxes, scores[..., 0], 3, pad_to_max_output_size=True)
        return tf.gather(scores[..., 0], kept, batch_dims=1)


def detector(combined):
    keras.utils.set_random_seed(0)
    x = keras.Input((12, 12, 3))
    top = layers.Conv2D(4, 3, padding="same", activation="relu", name="top")(x)
    scores = layers.Conv2D(1, 1, activation="sigmoid", name="scores")(top)
    boxes = layers.Conv2D(4, 1, name="boxes")(layers.Conv2D(4, 1, name="before_boxes")(top))
    rows_of_scores = layers.Reshape((144, 1), name="rows_of_scores")(scores)
    rows_of_boxes = layers.Reshape((144, 4), name="rows_of_boxes")(boxes)
    return keras.Model(x, [Suppressed(combined)([rows_of_boxes, rows_of_scores]), scores])


def best(logits):
    return logits[0][:, 0]


@pytest.mark.filterwarnings("ignore:The rows of a batch depend on each other")
def test_a_map_behind_non_maximum_suppression():
    """The indices have no gradient, the scores that they choose have: the map is that of the best score's logit."""
    model = detector(False)
    both = model(X)
    where = both[1].numpy().reshape(3, -1).argmax(axis=1)
    np.testing.assert_array_equal(both[0][:, 0], both[1].numpy().reshape(3, -1).max(axis=1))
    alone = keras.Model(model.input, layers.Flatten()(model.output[1]))
    values = tfs.HiResCAM(model, "top").explain(X, best).values
    one_hot = tf.one_hot(where, 144)
    expected = tfs.HiResCAM(alone, "top").explain(X, lambda z: tf.reduce_sum(z * one_hot, axis=1)).values
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-7)
    # What only chooses is not taken by default, though it comes last.
    assert tfs.HiResCAM(model).explain(X, best).provenance["layer"] == "top"
    with pytest.raises(ValueError, match="No gradient reaches .*boxes.* or the model chooses by these numbers"):
        tfs.GradCAM(model, "before_boxes").explain(X, best)


@pytest.mark.parametrize("method", [tfs.GradCAM, tfs.LayerCAM, tfs.XGradCAM])
def test_an_operation_without_a_gradient_above_the_layer_is_named(method):
    with pytest.raises(ValueError, match="of type CombinedNonMaxSuppression has none.*before a non-maximum"):
        method(detector(True), "top").explain(X, best)


def test_guided_grad_cam_is_the_product():
    model = network("deep")[0]
    product = tfs.GuidedBackprop(model).explain(X, 1).values * tfs.GradCAM(model, "top").explain(X, 1).values
    np.testing.assert_allclose(tfs.GuidedGradCAM(model, "top").explain(X, 1).values, product, rtol=1e-4, atol=1e-9)


def test_layers_are_watched_for_one_trace_and_in_one_thread_only():
    original = keras.Layer.__call__
    with pytest.raises(ValueError, match="no layer"):
        tfs.GradCAM(network("deep")[0], "nowhere").explain(X)
    assert keras.Layer.__call__ is original


def test_maps_under_noise_and_with_transforms():
    model = network("deep")[0]
    cam = tfs.GradCAM(model, "top")
    still = tfs.SmoothGrad(cam, samples=3, noise=0).explain(X, 1).values
    np.testing.assert_allclose(still, cam.explain(X, 1).values, rtol=1e-4, atol=1e-7)
    assert cam.then(tfs.transforms.times_input).explain(X, 1).values.shape == X.shape


def test_progress_of_a_loop_reaches_the_end_in_parts(monkeypatch):
    class Bar(tqdm):
        moves = []

        def update(self, n=1):
            self.moves.append(n)
            return super().update(n)

    monkeypatch.setattr(tfsaliency.engine.chunks, "tqdm", Bar)
    tfs.ScoreCAM(network("deep")[0], "top").explain(X, 1, progress=True, batch_size=1)
    # Three samples of six channels each, one at a time; what is left of a sample at its end is rounding.
    assert len([move for move in Bar.moves if move > 0.1]) == 18
    assert sum(Bar.moves) == pytest.approx(3)
    Bar.moves.clear()
    # The outer loop alone counts.
    tfs.SmoothGrad(tfs.ScoreCAM(network("deep")[0], "top"), samples=4).explain(X[:1], 1, progress=True, batch_size=1)
    assert sum(Bar.moves) == pytest.approx(1)
    assert len([move for move in Bar.moves if move > 0.1]) == 4


def test_score_cam_of_ids_hides_behind_a_mean_id():
    """A vector of zeros is none that the network knows: the mask leads to the mean vector of the table."""
    keras.utils.set_random_seed(0)
    words = layers.Embedding(20, 4)
    convolution = layers.Conv1D(3, 2, activation="relu", padding="same")
    model = keras.Sequential([keras.Input((6,)), words, convolution, layers.GlobalAveragePooling1D(), layers.Dense(2)])
    model.set_weights([3 * weights + 0.2 for weights in model.get_weights()])
    ids = np.array([[3, 8, 1, 4, 2, 19]])
    vectors = words(ids).numpy()
    mean, maps = words.get_weights()[0].mean(axis=0), convolution(vectors).numpy()[0]
    scores = []
    for channel in maps.T:
        mask = (channel - channel.min()) / max(np.ptp(channel), 1e-9)
        hidden = mean + (vectors - mean) * mask[:, None]
        scores.append(model.layers[-1](convolution(hidden).numpy().mean(axis=1)).numpy()[0, 1])
    weights = np.exp(scores) / np.exp(scores).sum()
    values = tfs.ScoreCAM(model).explain(ids, 1).values
    np.testing.assert_allclose(values[0], maps @ weights, rtol=1e-4)


def test_ablation_of_a_layer_whose_length_is_not_known():
    """A sequence of any length, against the same model of a fixed one."""
    keras.utils.set_random_seed(0)
    network = [layers.Conv1D(4, 3, activation="relu"), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    fixed = keras.Sequential([keras.Input((8, 3)), *network])
    free = keras.Sequential([keras.Input((None, 3)), *network])
    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    for method in (tfs.AblationCAM, tfs.ScoreCAM):
        np.testing.assert_allclose(method(free).explain(x, 1).values, method(fixed).explain(x, 1).values, rtol=1e-4)


def test_each_picture_of_a_siamese_network_has_a_map():
    """The shared encoder is called for each picture; HiResCAM of the distance is A dS/dA at both calls."""
    keras.utils.set_random_seed(0)
    convolutions = keras.Sequential(
        [keras.Input((12, 12, 3)), layers.Conv2D(4, 3, activation="relu", name="top")], name="tower"
    )
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(5)])
    pictures = [keras.Input((12, 12, 3)), keras.Input((12, 12, 3))]
    model = keras.Model(pictures, [head(convolutions(picture)) for picture in pictures])
    inputs = [X, np.roll(X, 1, axis=0)]

    def distance(logits):
        return tf.reduce_sum(tf.square(logits[0] - logits[1]), axis=-1)

    explanation = tfs.HiResCAM(model, upsample=False).explain(inputs, distance)
    assert set(explanation.provenance["layer"].split("; ")) == {"tower/top", "tower/top, call 1"}
    with tf.GradientTape() as tape:
        tops = [convolutions(part) for part in inputs]
        tape.watch(tops)
        score = distance([head(top) for top in tops])
    for found, top, slope in zip(explanation.values, tops, tape.gradient(score, tops), strict=True):
        np.testing.assert_allclose(found[..., 0], tf.reduce_sum(top * slope, axis=-1), rtol=1e-4, atol=1e-6)
    both = tfs.HiResCAM(model, [("top", 0), ("top", 1)], upsample=False).explain(inputs, distance)
    np.testing.assert_array_equal(both.values, explanation.values)
    # Each call sees one picture.
    alone = [tfs.HiResCAM(model, ("top", call)).explain(inputs, distance).values for call in (0, 1)]
    assert sorted([[bool(part.any()) for part in values] for values in alone]) == [[False, True], [True, False]]


def of_frames(behind):
    """A film through a convolution of each frame, and through the same one of the film; and what comes behind."""
    keras.utils.set_random_seed(0)
    film = keras.Input((5, 8, 8, 2))
    frames = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu", name="conv"), name="top")
    whole = layers.Conv3D(4, (1, 3, 3), activation="relu", name="top")
    above = keras.Sequential([keras.Input((5, 6, 6, 4)), *behind])
    models = [keras.Model(film, above(layer(film))) for layer in (frames, whole)]
    whole.set_weights([frames.layer.kernel[None], frames.layer.bias])
    return models


@pytest.mark.parametrize("method", [tfs.GradCAM, tfs.HiResCAM, tfs.EigenCAM, tfs.AblationCAM])
def test_a_layer_of_each_frame_is_a_layer_of_the_film(method):
    frames, whole = of_frames([layers.GlobalAveragePooling3D(), layers.Dense(3)])
    films = np.random.default_rng(0).normal(size=(2, 5, 8, 8, 2)).astype("float32")
    explanation = method(frames).explain(films, 1)
    assert explanation.provenance["layer"] == "top"
    np.testing.assert_allclose(explanation.values, method(whole).explain(films, 1).values, rtol=1e-3, atol=1e-6)


def test_a_layer_that_is_called_for_each_frame_names_the_layer_around_it():
    """Its calls are no places of the film: asking for the number of one would lead nowhere."""
    tower = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(4, 3, name="inner"), layers.Flatten()])
    film = keras.Input((5, 8, 8, 2))
    y = layers.LSTM(4)(layers.TimeDistributed(tower, name="frames")(film))
    model = keras.Model(film, layers.Dense(3)(y))
    films = np.random.default_rng(0).normal(size=(2, 5, 8, 8, 2))
    with pytest.raises(ValueError, match=r"'frames/inner' returns \(None, 6, 6, 4\).*These would do: frames$"):
        tfs.GradCAM(model, "inner").explain(films, 1)
    # One number for each frame, over all of it.
    values = tfs.HiResCAM(model, "frames").explain(films, 1).values
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :, :1, :1], values.shape))


@pytest.mark.filterwarnings("ignore:The rows of a batch depend on each other")
def test_a_layer_whose_rows_differ_in_length_is_passed_by():
    words = layers.TextVectorization(20, ragged=True)
    words.adapt(["a b c d e f", "g h i"])

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.words, self.vectors, self.head = words, layers.Embedding(20, 6), layers.Dense(2)

        def call(self, texts):
            return self.head(tf.reduce_mean(self.vectors(self.words(texts).to_tensor()), axis=1))

    model, texts = Model(), np.array(["a b c", "g h"])
    model(tf.constant(texts))
    with pytest.raises(ValueError, match="no layer with places"):
        tfs.GradCAM(model).explain(texts, 1)


def test_a_picture_that_the_model_makes_of_a_sound_is_explained_behind_it():
    """Places of a spectrogram are none of the sound; the advice is followed."""

    class Spectrogram(layers.Layer):
        def call(self, sound):
            return tf.math.log(tf.abs(tf.signal.stft(sound, 32, 16)) + 0.1)[..., None]

    keras.utils.set_random_seed(1)
    convolution = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((160,)), Spectrogram(), *convolution])
    sounds = np.random.default_rng(0).normal(size=(2, 160)).astype("float32")
    with pytest.raises(ValueError, match="nothing to map.*a spectrogram of a sound, explain the model behind that"):
        tfs.GradCAM(model).explain(sounds, 1)
    pictures = model.layers[0](sounds)
    behind = keras.Sequential([keras.Input(pictures.shape[1:]), *model.layers[1:]])
    explanation = tfs.HiResCAM(behind).explain(pictures.numpy(), 1)
    np.testing.assert_allclose(explanation.scores, model(sounds)[:, 1], rtol=1e-4)
    # The convolution is pooled and read by one dense layer: the map sums to its share of the score.
    bias = model.layers[-1].bias.numpy()[1]
    coarse = tfs.HiResCAM(behind, upsample=False).explain(pictures.numpy(), 1).values
    np.testing.assert_allclose(coarse.sum(axis=(1, 2, 3)), np.maximum(explanation.scores - bias, 0), rtol=1e-3)


def test_branches_that_are_pooled_before_they_are_joined_are_all_seen():
    """The map was that of the last branch, zero where the class depends on another one."""
    keras.utils.set_random_seed(0)
    x = keras.Input((20, 4))
    branches = [layers.Conv1D(3, width, activation="relu", name=f"of_{width}")(x) for width in (2, 3, 4)]
    pooled = [layers.GlobalMaxPooling1D()(each) for each in branches]
    model = keras.Model(x, layers.Dense(2)(layers.Concatenate()(pooled)))
    inputs = np.random.default_rng(0).normal(size=(2, 20, 4))
    for method in (tfs.GradCAM, tfs.HiResCAM, tfs.EigenCAM):
        explanation = method(model).explain(inputs, 1)
        assert explanation.provenance["layer"] == "of_2; of_3; of_4"
        single = [method(model, f"of_{width}").explain(inputs, 1).values for width in (2, 3, 4)]
        np.testing.assert_allclose(explanation.values, np.sum(single, axis=0), rtol=1e-5, atol=1e-7)
        listed = method(model, ["of_2", "of_3", "of_4"]).explain(inputs, 1)
        np.testing.assert_allclose(listed.values, np.mean(single, axis=0), rtol=1e-5, atol=1e-7)


def test_frames_that_are_pooled_one_by_one_have_the_map_before_pooling():
    """However the pooling is written; where each frame has a model of its own, what it has pooled is all to see."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 8, 8, 2))
    convolution, recurrent, top = layers.Conv2D(3, 3, activation="relu"), layers.GRU(5), layers.Dense(2)
    maps = layers.TimeDistributed(convolution)(x)
    of_one = keras.Sequential([convolution, layers.GlobalAveragePooling2D()])
    ways = [
        layers.TimeDistributed(layers.GlobalAveragePooling2D())(maps),
        keras.ops.mean(maps, (2, 3)),
        layers.TimeDistributed(of_one)(x),
    ]
    inputs = np.random.default_rng(0).uniform(size=(1, 4, 8, 8, 2))
    first, second, third = (
        tfs.HiResCAM(keras.Model(x, top(recurrent(way))), upsample=False).explain(inputs, 1).values for way in ways
    )
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)
    assert first.shape == (1, 4, 6, 6, 1) and np.abs(first).max() > 0
    assert third.shape == (1, 4, 1, 1, 1)
    np.testing.assert_allclose(third[..., 0, 0, 0].sum(), first.sum(), rtol=1e-4)


@pytest.mark.parametrize("method", [tfs.GradCAM, tfs.HiResCAM, tfs.LayerCAM])
def test_branches_are_joined_and_gated_by_layers_or_by_functions(method):
    """One network, one map: what a function makes of the results of layers belongs to them."""

    def model(joined, gated):
        keras.utils.set_random_seed(0)
        x = keras.Input((10, 3))
        branches = [layers.Conv1D(2, width, padding="same", activation="relu")(x) for width in (1, 3)]
        both = layers.Concatenate()(branches) if joined else keras.ops.concatenate(branches, axis=-1)
        gate = layers.Softmax(axis=1)(layers.Dense(1)(both))
        product = layers.Multiply()([both, gate]) if gated else both * gate
        return keras.Model(x, layers.Dense(2)(keras.ops.sum(product, axis=1)))

    x = np.random.default_rng(0).normal(size=(2, 10, 3))
    expected = method(model(True, True)).explain(x, 1).values
    for joined, gated in ((True, False), (False, True), (False, False)):
        np.testing.assert_allclose(method(model(joined, gated)).explain(x, 1).values, expected, rtol=1e-5, atol=1e-7)


def test_branches_that_a_function_joins_are_one_layer():
    keras.utils.set_random_seed(0)
    x = keras.Input((10, 3))
    branches = [layers.Conv1D(2, width, padding="same", activation="relu", name=f"of_{width}")(x) for width in (1, 3)]
    joined = keras.ops.concatenate(branches, axis=-1)
    model = keras.Model(x, layers.Dense(2, use_bias=False)(layers.GlobalAveragePooling1D()(joined)))
    explanation = tfs.HiResCAM(model).explain(np.random.default_rng(0).normal(size=(2, 10, 3)), 1)
    assert explanation.provenance["layer"] == "ConcatV2 after of_3"
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), explanation.scores, rtol=1e-5)


class OwnAttention(layers.Layer):
    """Attention that looks at all steps, and their mean."""

    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(8, name=name, use_bias=False) for name in ("query", "key", "value")]

    def call(self, steps):
        query, key, value = (part(steps) for part in self.parts)
        return tf.reduce_mean(tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True)), value), axis=1)


def test_query_and_key_are_no_branches():
    """They meet the values while all of them have places: the values alone are what is pooled."""
    keras.utils.set_random_seed(0)
    x = keras.Input((20, 3))
    steps = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    model = keras.Model(x, layers.Dense(2, use_bias=False)(OwnAttention()(steps)))
    explanation = tfs.HiResCAM(model).explain(np.random.default_rng(0).normal(size=(2, 20, 3)), 1)
    assert explanation.provenance["layer"].endswith("value")
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), explanation.scores, rtol=1e-4)


def test_the_largest_of_several_channels_is_no_pooling():
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    groups = layers.Reshape((6, 6, 4, 2))(layers.Conv2D(8, 3)(x))
    largest = layers.Dropout(0.5, name="largest")(keras.ops.max(groups, axis=-1))
    model = keras.Model(x, layers.Dense(2, use_bias=False)(layers.GlobalAveragePooling2D()(largest)))
    explanation = tfs.HiResCAM(model, upsample=False).explain(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), 1)
    assert explanation.provenance["layer"] == "largest"
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2, 3)), explanation.scores, rtol=1e-4)


@pytest.mark.parametrize("recurrent", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_steps_that_a_layer_returns_backwards_are_no_places(recurrent):
    """Their map was the mirror image of the truth. A `Bidirectional` turns them around again."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(1, 6, 3))

    def model(layer):
        return keras.Sequential([keras.Input((6, 3)), layer, layers.GlobalAveragePooling1D(), layers.Dense(2)])

    backwards = recurrent(4, go_backwards=True, return_sequences=True)
    with pytest.raises(ValueError, match="no layer with places that lie over its input"):
        tfs.HiResCAM(model(backwards)).explain(x, 1)
    both = model(layers.Bidirectional(recurrent(4, return_sequences=True)))
    assert tfs.HiResCAM(both).explain(x, 1).values.shape == (1, 6, 1)


BESIDE = {
    "LSTM": lambda beside: layers.LSTM(5, return_sequences=True, return_state=beside, name="seen"),
    "GRU": lambda beside: layers.GRU(5, return_sequences=True, return_state=beside, name="seen"),
}


@pytest.mark.parametrize("make", BESIDE.values(), ids=BESIDE)
def test_a_layer_that_returns_its_states_has_the_map_of_one_that_does_not(make):
    """It was said to be called by no model."""
    x, series = keras.Input((4, 6)), np.random.default_rng(0).normal(size=(2, 4, 6))
    models = []
    for beside in (False, True):
        returned = make(beside)(x)
        pooled = layers.GlobalAveragePooling1D()(returned[0] if beside else returned)
        models.append(keras.Model(x, layers.Dense(3)(pooled)))
    models[1].set_weights(models[0].get_weights())
    for layer in (None, "seen"):
        alone, with_states = (tfs.GradCAM(model, layer=layer).explain(series, 1) for model in models)
        assert with_states.provenance["layer"] == "seen"
        np.testing.assert_allclose(with_states.values, alone.values, rtol=1e-5, atol=1e-7)


def test_a_layer_without_a_known_activation_says_so():
    """It was said to be called by no model."""
    x = keras.Input((4, 6))
    result, *_ = layers.LSTM(5, return_state=True, name="seen")(layers.Conv1D(3, 2, name="before")(x))
    model = keras.Model(x, layers.Dense(3)(result))
    for layer in ("seen", model.get_layer("seen")):
        with pytest.raises(ValueError, match="'seen' returns several tensors, none .* These would do: before"):
            tfs.GradCAM(model, layer=layer).explain(np.ones((2, 4, 6)), 1)


def test_attention_that_returns_its_scores_has_a_map():
    x, series = keras.Input((4, 6)), np.random.default_rng(0).normal(size=(2, 4, 6))
    attention = layers.MultiHeadAttention(2, 3, name="seen")
    head, pool = layers.Dense(3), layers.GlobalAveragePooling1D()
    with_scores = keras.Model(x, head(pool(attention(x, x, return_attention_scores=True)[0])))
    alone = keras.Model(x, head(pool(attention(x, x))))
    found, expected = (tfs.HiResCAM(model, layer="seen").explain(series, 1).values for model in (with_scores, alone))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_numbers_of_vectors_are_no_places():
    """Behind them the map had a place for each number of a vector, which failed with TensorFlow's words."""
    ids, table, head = keras.Input((9,), dtype="int32"), layers.Embedding(30, 4), layers.Dense(3)
    turned = layers.Permute((2, 1), name="turned")(table(ids))
    model = keras.Model(ids, head(layers.GlobalAveragePooling1D()(turned)))
    given = np.random.default_rng(0).integers(0, 30, (2, 9))
    explanation = tfs.HiResCAM(model).explain(given, 1)
    # The slope at each token: a mean over the numbers of its vector.
    vectors, slope = table.embeddings.numpy()[given], head.kernel.numpy()[:, 1] / 4
    expected = vectors.sum(axis=-1) * slope
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="'turned' returns .* whose places do not lie over an input"):
        tfs.HiResCAM(model, layer="turned").explain(given, 1)


def test_two_inputs_that_meet_in_attention_have_a_map_each():
    """They meet with their places: the layer of the second input is no branch, and the only one that sees it."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((10, 3)), keras.Input((10, 4))]
    first, second = (
        layers.Conv1D(4, 3, padding="same", activation="relu", name=name)(x)
        for name, x in zip(("of_first", "of_second"), inputs, strict=True)
    )
    weights = keras.ops.softmax(keras.ops.matmul(first, keras.ops.transpose(second, (0, 2, 1))))
    pooled = layers.GlobalAveragePooling1D()(keras.ops.matmul(weights, second))
    model = keras.Model(inputs, layers.Dense(2)(pooled))
    x = [np.random.default_rng(place).normal(size=(1, 10, 3 + place)) for place in (0, 1)]
    explanation = tfs.HiResCAM(model).explain(x, 1)
    assert explanation.provenance["layer"] == "of_first; of_second"
    for part, layer in enumerate(("of_first", "of_second")):
        alone = tfs.HiResCAM(model, layer).explain(x, 1).values[part]
        np.testing.assert_allclose(explanation.values[part], alone, rtol=1e-5, atol=1e-7)
        assert np.abs(alone).max() > 0


def test_what_puts_places_anywhere_is_named():
    """A flip in Python, whose map would be the mirror image."""
    flip = layers.Lambda(lambda x: tf.ensure_shape(tf.numpy_function(np.fliplr, [x], tf.float32), [None, 12, 12, 3]))
    rest = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    pictures = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    model = keras.Sequential([keras.Input((12, 12, 3)), flip, *rest])
    with pytest.raises(ValueError, match=r"explain the model behind that.*PyFunc', an operation of type PyFunc"):
        tfs.GradCAM(model).explain(pictures, 1)
    behind = keras.Sequential([keras.Input((12, 12, 3)), *rest])
    np.testing.assert_allclose(
        tfs.GradCAM(behind).explain(np.fliplr(pictures), 1).scores, model(pictures)[:, 1], rtol=1e-5
    )


SWITCH = tf.Variable(True)
NO_MOVES = {
    "normalization over channels": tf.nn.local_response_normalization,
    "rounding as trained for": lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -6.0, 6.0),
    "a condition": lambda x: tf.cond(SWITCH, lambda: 2 * x, lambda: x),
    "a clip": lambda x: tf.raw_ops.ClipByValue(t=x, clip_value_min=0.0, clip_value_max=6.0),
}


@pytest.mark.parametrize("name", NO_MOVES)
def test_layers_behind_what_leaves_places_where_they_are(name):
    """The last convolution is mapped, and not one in front of it."""
    rest = [layers.Conv2D(4, 3, activation="relu", name="last"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    between = layers.Lambda(NO_MOVES[name], output_shape=lambda shape: shape)
    model = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3, activation="relu"), between, *rest])
    explanation = tfs.GradCAM(model).explain(np.random.default_rng(0).normal(size=(1, 12, 12, 3)), 1)
    assert explanation.provenance["layer"] == "last"
