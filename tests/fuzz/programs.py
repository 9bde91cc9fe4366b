"""Random networks: programs of 3 to 30 operations over the whole vocabulary, and their values in plain TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

SHORTEST, LONGEST = 3, 30
# Tensors are tables of this width, or pictures of this shape.
WIDTH, PICTURE = 6, (4, 4, 2)
# A result whose numbers are larger is scaled down, so that no program overflows.
LARGEST = 4.0


def weights(*shape: int) -> np.ndarray:
    """Fixed weights of a shape, without a pattern."""
    count = int(np.prod(shape))
    return np.sin(np.arange(1, count + 1) ** 1.5).reshape(shape).astype("float32")


TABLE, IMAGE = (WIDTH,), PICTURE
DENSE, KERNEL, DEPTHWISE = weights(WIDTH, WIDTH) / 2, weights(3, 3, 2, 2) / 3, weights(3, 3, 2, 1) / 2
MATRIX = weights(4, 4) / 2
ROW = weights(WIDTH)
SHARES = np.abs(weights(WIDTH)) + 0.5

Operands = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class Operation:
    """An operation of the vocabulary.

    Attributes:
        run: makes the result.
        arity: how many operands it has, all of one shape.
        shapes: of which shapes they may be, without the batch.
        loses: whether a rule cannot follow all that the result depends on, and has to say so.
    """

    run: Callable[..., tf.Tensor]
    arity: int = 1
    shapes: tuple[tuple[int, ...], ...] = (TABLE, IMAGE)
    loses: bool = False


def table(run: Callable[..., tf.Tensor], arity: int = 1, **options: Any) -> Operation:
    return Operation(run, arity, (TABLE,), **options)


def image(run: Callable[..., tf.Tensor], arity: int = 1, **options: Any) -> Operation:
    return Operation(run, arity, (IMAGE,), **options)


def scattered(x: tf.Tensor) -> tf.Tensor:
    places = tf.constant([[0], [0], [1], [3], [5], [5]])
    return tf.transpose(tf.scatter_nd(places, tf.transpose(x), [WIDTH, tf.shape(x)[0]]))


def normalized(x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 0.1)


# What changes numbers one by one, beside the rectifiers.
CURVES = {
    "tanh": Operation(tf.tanh),
    "sigmoid": Operation(tf.sigmoid),
    "softplus": Operation(tf.nn.softplus),
    "softsign": Operation(tf.nn.softsign),
    "elu": Operation(tf.nn.elu),
    "selu": Operation(tf.nn.selu),
    "leaky": Operation(lambda x: tf.nn.leaky_relu(x, 0.1)),
    "relu6": Operation(tf.nn.relu6),
    "silu": Operation(tf.nn.silu),
    "gelu": Operation(tf.nn.gelu),
    "erf": Operation(tf.math.erf),
    "erfc": Operation(tf.math.erfc),
    "exp": Operation(tf.exp),
    "expm1": Operation(tf.math.expm1),
    "log": Operation(lambda x: tf.math.log(1.5 + tf.abs(x))),
    "log1p": Operation(lambda x: tf.math.log1p(tf.square(x))),
    "sqrt": Operation(lambda x: tf.sqrt(1 + tf.square(x))),
    "rsqrt": Operation(lambda x: tf.math.rsqrt(1 + tf.square(x))),
    "reciprocal": Operation(lambda x: tf.math.reciprocal(2 + tf.abs(x))),
    "quotient": Operation(lambda x: 1.0 / (2 + tf.nn.relu(x))),
    "sine": Operation(tf.sin),
    "snake": Operation(lambda x: x + tf.sin(x) ** 2),
    "arctangent": Operation(tf.atan),
    "hyperbolic cosine": Operation(tf.cosh),
    "abs": Operation(tf.abs),
    "square": Operation(tf.square),
    "power": Operation(lambda x: tf.abs(x) ** 1.5),
    "negative": Operation(tf.negative),
    "clip": Operation(lambda x: tf.clip_by_value(x, -0.7, 1.3)),
    "maximum": Operation(lambda x: tf.maximum(x, 0.1)),
    "minimum": Operation(lambda x: tf.minimum(x, 0.4)),
    "where": Operation(lambda x: tf.where(x > 0.1, x, 0.2 * x)),
    "scaled": Operation(lambda x: 1.7 * x),
    "shifted": Operation(lambda x: x + 0.3),
}
# Linear in each operand.
LINEAR = {
    "dense": table(lambda x: x @ DENSE),
    "dense with bias": table(lambda x: tf.nn.bias_add(x @ DENSE, ROW / 4)),
    "transposed dense": table(lambda x: tf.matmul(x, DENSE, transpose_b=True)),
    "einsum": table(lambda x: tf.einsum("ni,ij->nj", x, DENSE)),
    "per channel": table(lambda x: x * ROW),
    "conv": image(lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME")),
    "depthwise": image(lambda x: tf.nn.depthwise_conv2d(x, tf.constant(DEPTHWISE, x.dtype), [1, 1, 1, 1], "SAME")),
    "transposed conv": image(lambda x: tf.nn.conv2d_transpose(x, tf.constant(KERNEL, x.dtype), tf.shape(x), 1, "SAME")),
    "batch matmul": image(lambda x: tf.einsum("nhwc,hk->nkwc", x, MATRIX)),
    "average": image(lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME")),
    "nearest": image(lambda x: tf.image.resize(x, (8, 8), "nearest")[:, ::2, 1::2]),
    "running sum": table(lambda x: tf.cumsum(x, axis=1)),
    "mean taken off": Operation(lambda x: x - tf.reduce_mean(x, axis=-1, keepdims=True)),
    "sum beside": Operation(lambda x: x + tf.reduce_sum(x, axis=-1, keepdims=True) / 4),
    "scattered": table(scattered),
    "reversed": Operation(lambda x: tf.reverse(x, [1])),
    "rolled": Operation(lambda x: tf.roll(x, 2, axis=1)),
    "permuted": table(lambda x: tf.gather(x, [2, 0, 3, 1, 5, 5], axis=1)),
    "transposed": image(lambda x: tf.transpose(x, [0, 2, 1, 3])),
    "split and joined": Operation(lambda x: tf.concat(tf.split(x, 2, axis=-1)[::-1], axis=-1)),
    "unstacked": table(lambda x: tf.stack(tf.unstack(x, axis=1)[::-1], axis=1)),
    "padded": Operation(lambda x: tf.pad(x[:, 1:], [[0, 0], [0, 1], *[[0, 0]] * (x.shape.rank - 2)])),
    "mirrored": image(lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")[:, :4, 2:]),
    "tiled": table(lambda x: tf.tile(x[:, :3], [1, 2])),
    "blocks": image(lambda x: tf.nn.depth_to_space(tf.nn.space_to_depth(x, 2)[..., ::-1], 2)),
    "reshaped": table(lambda x: tf.reshape(tf.transpose(tf.reshape(x, [-1, 2, 3]), [0, 2, 1]), [-1, WIDTH])),
    "flattened": image(lambda x: tf.reshape(x, [-1, 32]) @ (weights(32, WIDTH) / 4)),
    "spread": table(lambda x: tf.reshape(x @ (weights(WIDTH, 32) / 3), [-1, *PICTURE])),
    "pooled": image(lambda x: tf.tile(tf.reduce_mean(x, axis=[1, 2]), [1, 3])),
    "added": Operation(lambda x, y: x + y, 2),
    "three added": Operation(lambda x, y, z: tf.add_n([x, y, z]), 3),
    "subtracted": Operation(lambda x, y: x - y, 2),
}
# Of several signals at once; or linear, but in float32 alone on a CPU.
JOINT = {
    "dilated conv": image(lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME", dilations=2)),
    "resized": image(lambda x: tf.image.resize(tf.image.resize(x, (7, 7)), PICTURE[:2])),
    "multiplied": Operation(lambda x, y: x * y, 2),
    "gated": Operation(lambda x, y: x * tf.sigmoid(y), 2),
    "weighed": Operation(lambda x, y: x * tf.reduce_mean(y, axis=-1, keepdims=True), 2),
    "divided": Operation(lambda x, y: x / (1.5 + tf.abs(y)), 2),
    "difference squared": Operation(tf.math.squared_difference, 2),
    "larger": Operation(tf.maximum, 2),
    "smaller": Operation(tf.minimum, 2),
    "attention": image(
        lambda x, y: tf.einsum("nhqk,nhkc->nhqc", tf.nn.softmax(tf.einsum("nhqc,nhkc->nhqk", x, y)), x), 2
    ),
    "outer": table(lambda x, y: tf.einsum("nij,j->ni", tf.einsum("ni,nj->nij", x, y), ROW / 3), 2),
    "largest": Operation(lambda x: x + tf.reduce_max(x, axis=-1, keepdims=True)),
    "max pool": image(lambda x: tf.nn.max_pool2d(x, 2, 1, "SAME")),
    "softmax": Operation(tf.nn.softmax),
    "log softmax": Operation(tf.nn.log_softmax),
    "normalized": Operation(normalized),
    "product along": table(
        lambda x: x * tf.reduce_prod(1 + tf.reshape(x, [-1, 2, 3])[:, 0] / 4, axis=1, keepdims=True)
    ),
    "sorted": table(lambda x: tf.sort(x, axis=1)),
    "highest": table(lambda x: tf.tile(tf.math.top_k(x, 3).values, [1, 2])),
}
# What hides part of what it depends on from rules.
LOSING = {
    "stopped": Operation(lambda x: x + tf.stop_gradient(x), loses=True),
    "rounded": Operation(lambda x: x + tf.floor(3 * x), loses=True),
    "chosen": table(lambda x: x + tf.gather(tf.constant(ROW), tf.argmax(x, axis=1))[:, None], loses=True),
    "masked": Operation(lambda x, y: x * tf.cast(y > 0.1, tf.float32), 2, loses=True),
}
# Rectifiers; each gets a ReLU as its first argument.
RECTIFIED = {
    "relu of dense": table(lambda relu, x: relu(x @ DENSE)),
    "relu of conv": image(lambda relu, x: relu(tf.nn.conv2d(x, KERNEL, 1, "SAME"))),
    "relu beside": table(lambda relu, x: x + relu(x @ DENSE)),
}
# Where a method has a simple truth: networks that are linear wherever no ReLU switches.
PIECEWISE = LINEAR | RECTIFIED
EVERYTHING = CURVES | PIECEWISE | JOINT
WITH_LOSSES = EVERYTHING | LOSING


class Program:
    """A network as a list of operations.

    Args:
        start: the shape of the input.
        instructions: names of operations, each with numbers that choose its operands among the tensors made before.
    """

    def __init__(self, start: tuple[int, ...], instructions: list[tuple[str, tuple[int, int, int]]]):
        self.start, self.instructions = start, instructions
        self._steps: list[tuple[str, tuple[int, ...], float]] = []
        made = [self.inputs()]
        for name, picks in instructions:
            operation = WITH_LOSSES[name]
            places = [place for place, value in enumerate(made) if tuple(value.shape[1:]) in operation.shapes]
            if not places:
                continue
            # The first operand is the latest one of several choices, so that programs grow deep.
            first = places[-1 - picks[0] % min(3, len(places))]
            alike = [place for place in places if made[place].shape == made[first].shape]
            operands = (first, *(alike[pick % len(alike)] for pick in picks[1 : operation.arity]))
            result = self._result(name, [made[place] for place in operands], tf.nn.relu)
            scale = LARGEST / max(LARGEST, float(tf.reduce_max(tf.abs(result))))
            self._steps.append((name, operands, scale))
            made.append(scale * result)

    @property
    def loses(self) -> bool:
        """Whether a rule cannot follow all of it."""
        return any(WITH_LOSSES[name].loses for name, _, _ in self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"Program({self.start}, {self.instructions})"

    def inputs(self, dtype: str = "float32") -> tf.Tensor:
        return tf.cast(tf.constant(np.random.default_rng(5).normal(size=(3, *self.start)), tf.float32), dtype)

    def __call__(self, x: tf.Tensor, relu: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu) -> tf.Tensor:
        """``(N,)``: the score."""
        made = [x]
        for name, operands, scale in self._steps:
            result = self._result(name, [made[place] for place in operands], relu)
            made.append(result if scale == 1 else scale * result)
        last = tf.reshape(made[-1], [-1, int(np.prod(made[-1].shape[1:]))])
        return tf.linalg.matvec(last, tf.constant(weights(last.shape[1]) / 2, last.dtype))

    def model(self, dtype: str = "float32") -> keras.Model:
        program = self

        class Fuzzed(keras.Model):
            def call(self, x: tf.Tensor) -> tf.Tensor:
                return program(x)[:, None]

        model = Fuzzed(dtype=dtype)
        model.built = True
        return model

    @staticmethod
    def _result(name: str, operands: list[tf.Tensor], relu: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        return WITH_LOSSES[name].run(*([relu] if name in RECTIFIED else []), *operands)


def programs(vocabulary: dict[str, Operation]) -> st.SearchStrategy[Program]:
    """Programs of operations of a vocabulary."""
    number = st.integers(0, 11)
    instruction = st.tuples(st.sampled_from(sorted(vocabulary)), st.tuples(number, number, number))
    instructions = st.lists(instruction, min_size=SHORTEST, max_size=LONGEST)
    return st.builds(Program, st.sampled_from([TABLE, IMAGE]), instructions)
