"""KerasHub's networks for pictures, small and with random weights: a transformer, a detector, pictures and texts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs

if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
    pytest.skip("KerasHub needs Keras 3.15", allow_module_level=True)
import keras_hub as hub  # noqa: E402

X = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")


def slope(model, x, score):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = score(model(x, training=False))
    return tape.gradient(scores, x).numpy(), scores.numpy()


@pytest.fixture(scope="module")
def transformer():
    keras.utils.set_random_seed(0)
    sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    backbone = hub.models.ViTBackbone(image_shape=(32, 32, 3), **sizes)
    return hub.models.ViTImageClassifier(backbone, num_classes=4, preprocessor=None)


def test_vision_transformer(transformer):
    found = tfs.Gradient(transformer).explain(X, tfs.target.contrast(1, 2))
    values, scores = slope(transformer, X, lambda z: z[:, 1] - z[:, 2])
    np.testing.assert_allclose(found.values, values, rtol=1e-3, atol=1e-5 * np.abs(values).max())
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-6)
    for explainer in (tfs.DeepLIFT(transformer), tfs.IntegratedGradients(transformer, steps=200)):
        explanation = explainer.explain(X, 1)
        size = np.abs(explanation.values).sum(axis=(1, 2, 3))
        assert (np.abs(explanation.diagnostics["completeness_gap"]) < 1e-2 * size).all()


@pytest.mark.parametrize(
    "method", [lambda model: tfs.LRP(model, "attention"), tfs.HiResCAM, tfs.Occlusion, tfs.SmoothGrad]
)
def test_a_vision_transformer_has_places(transformer, method):
    values = method(transformer).explain(X, 1).values
    assert values.shape[:3] == X.shape[:3] and (values != 0).any(axis=(1, 2, 3)).all()


def test_the_map_of_a_vision_transformer_is_that_of_its_last_block(transformer):
    """What the class token reads last, and not the patches: their number is told by shapes alone."""
    explanation = tfs.HiResCAM(transformer).explain(X, 1)
    assert explanation.provenance["layer"].endswith("/ln_1")
    block = max(int(part.rsplit("_", 1)[1]) for part in explanation.provenance["layer"].split("/") if "block" in part)
    named = {layer.name for layer in transformer._flatten_layers() if "transformer_block" in layer.name}
    assert block == len(named)


@pytest.fixture(scope="module")
def segmenter():
    keras.utils.set_random_seed(0)
    encoder = hub.models.MiTBackbone(
        image_shape=(64, 64, 3),
        hidden_dims=[8, 16, 20, 32],
        num_layers=4,
        layerwise_num_heads=[1, 2, 5, 8],
        layerwise_depths=[1] * 4,
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.0,
    )
    backbone = hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=16)
    return hub.models.SegFormerImageSegmenter(backbone=backbone, num_classes=4, preprocessor=None)


def test_segmenter(segmenter):
    """SegFormer, at the places where it sees a class itself."""
    pictures = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype("float32")
    target = tfs.target.region(None, 1)
    seen = (segmenter(pictures, training=False).numpy().argmax(axis=-1) == 1).astype("float32")
    found = tfs.Gradient(segmenter).explain(pictures, target)
    np.testing.assert_array_equal(found.diagnostics["region"], seen.sum(axis=(1, 2)))
    values, scores = slope(
        segmenter, pictures, lambda z: tf.reduce_sum(z[..., 1] * seen, [1, 2]) / seen.sum(axis=(1, 2))
    )
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
    np.testing.assert_allclose(found.values, values, rtol=1e-3, atol=1e-5 * np.abs(values).max())
    for explainer in (tfs.DeepLIFT(segmenter, 0.5), tfs.IntegratedGradients(segmenter, 0.5, steps=100)):
        explanation = explainer.explain(pictures, target)
        change = scores - explainer.scores(np.full_like(pictures, 0.5), tfs.target.region(list(seen), 1))
        np.testing.assert_allclose(explanation.values.sum(axis=(1, 2, 3)), change, atol=2e-2 * np.abs(change).max())
    for method in (tfs.GradCAM, tfs.GuidedBackprop, lambda model: tfs.Occlusion(model, window=16, stride=16)):
        values = method(segmenter).explain(pictures, target).values
        assert values.shape[:3] == pictures.shape[:3] and (values != 0).any(axis=(1, 2, 3)).all()


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    encoder = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(64, 64, 3),
    )
    backbone = hub.models.RetinaNetBackbone(image_encoder=encoder, min_level=3, max_level=5, use_p5=False)
    return hub.models.RetinaNetObjectDetector(backbone=backbone, num_classes=4, preprocessor=None)


def test_detector(detector):
    """As many classes as a box has sides: the name tells them apart."""
    pictures = np.random.default_rng(0).uniform(size=(6, 64, 64, 3)).astype("float32")
    scores = detector(pictures, training=False)["cls_logits"].numpy()
    found = tfs.Gradient(detector).explain(pictures, tfs.target.box(2))
    best = scores[:, :, 2].argmax(axis=1)
    np.testing.assert_array_equal(found.diagnostics["box"], best)
    values, expected = slope(detector, pictures, lambda z: tf.stack([z["cls_logits"][n, best[n], 2] for n in range(6)]))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)
    error, size = (np.linalg.norm(each.reshape(6, -1), axis=1) for each in (found.values - values, values))
    # In float32 a unit near zero may be found on both sides of it, in one picture or the other.
    assert np.median(error / size) < 1e-5 and (error < 0.02 * size).all()
    side = tfs.Gradient(detector).explain(pictures, tfs.target.box(index=best, side=3))
    _, expected = slope(detector, pictures, lambda z: tf.stack([z["bbox_regression"][n, best[n], 3] for n in range(6)]))
    np.testing.assert_allclose(side.scores, expected, rtol=1e-4)


def test_pictures_and_texts():
    """One part of pixels and one of ids: both are explained, each as what it is."""
    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "intermediate_dim": 32}
    of_pictures = hub.models.CLIPVisionEncoder(patch_size=8, image_shape=(16, 16, 3), **sizes)
    of_texts = hub.models.CLIPTextEncoder(vocabulary_size=30, embedding_dim=16, max_sequence_length=8, **sizes)
    model = hub.models.CLIPBackbone(vision_encoder=of_pictures, text_encoder=of_texts, projection_dim=8)
    inputs = {"images": X[:1, :16, :16], "token_ids": np.array([[2, 5, 6, 7, 8, 3, 0, 0]])}
    with pytest.warns(UserWarning, match="The rows of a batch depend on each other"):
        found = tfs.Gradient(model).explain(inputs, lambda z: z["vision_logits"][:, 0])
    pictures = tf.constant(inputs["images"])
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        score = model({"images": pictures, "token_ids": tf.constant(inputs["token_ids"])}, training=False)[
            "vision_logits"
        ][:, 0]
    values = tape.gradient(score, pictures).numpy()
    np.testing.assert_allclose(found.values["images"], values, rtol=1e-3, atol=1e-4 * np.abs(values).max())
    assert found.values["token_ids"].shape == (1, 8) and (found.values["token_ids"] > 0).any()
