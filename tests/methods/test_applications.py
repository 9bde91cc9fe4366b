"""Every explainer on models of keras.applications: the gradient is that of the logits, at any depth."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.harness import EXPLAINERS, close, quick

SIZES = {
    "VGG16": 32,
    "ResNet50": 32,
    "DenseNet121": 32,
    "MobileNetV2": 32,
    "EfficientNetB0": 32,
    "ConvNeXtTiny": 32,
}
# One over noisy copies and one for a layer: to a wrapper and a product with the inputs all networks are alike. Every
# explainer runs on the network that is traced fastest.
REPRESENTATIVES = ("VarGrad", "GradCAM")
FASTEST = "VGG16"
# The paper's map is for another head.
REFUSED = {("VGG16", "CAM")}


# A map behind a ReLU may be empty for random weights.
@pytest.mark.filterwarnings("ignore:The values of the samples", "ignore:The map has not converged")
@pytest.mark.parametrize("name", quick(SIZES, "VGG16", "ResNet50", "MobileNetV2", "ConvNeXtTiny"))
def test_application(name):
    keras.utils.set_random_seed(0)
    size = SIZES[name]
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), classes=10)
    twin = build(weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None)
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, size=(2, size, size, 3)).astype("float32")

    @tf.function(autograph=False)
    def reference(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = twin(x, training=False)[:, 3]
        return tape.gradient(score, x)

    explanation = tfs.Gradient(model).explain(x, 3)
    assert explanation.explained == "the logits under Softmax"
    close(explanation.values, reference(tf.constant(x)).numpy(), 1e-4)
    still = tfs.SmoothGrad(model, samples=2, noise=0).explain(x, 3)
    close(still.values, explanation.values, 1e-4)

    names = EXPLAINERS if name == FASTEST else REPRESENTATIVES
    for explainer in (EXPLAINERS[each] for each in names if (name, each) not in REFUSED):
        together = explainer(model).explain(x, 3)
        alone = explainer(model).explain(x[1:], 3)
        close(alone.values, together.values[1:], 2e-3)
    keras.backend.clear_session()
