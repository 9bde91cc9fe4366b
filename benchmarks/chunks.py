"""How the time of a bare gradient depends on the batch size: why a chunk is as large as it is."""

import keras
import tensorflow as tf

from benchmarks.floor import MODELS, bare_gradient, medians
from tfsaliency.engine.compiled import rows_for
from tfsaliency.model.traced import traced_model

SIZES = (1, 2, 4, 8, 16, 32, 64)


def run() -> None:
    print("\nchunks: milliseconds per image of a bare gradient, by batch size")
    for name, build in MODELS.items():
        report(name, build())


def report(name: str, model: keras.Model) -> None:
    gradient = bare_gradient(model)
    shape = model.input_shape[1:]
    batches = [tf.random.normal((size, *shape)) for size in SIZES]
    seconds = medians(5, *[lambda batch=batch: gradient(batch) for batch in batches])
    each = "  ".join(f"{size}: {1e3 * time / size:.1f}" for size, time in zip(SIZES, seconds, strict=True))
    print(f"  {name:18} {each}   chosen: {chosen_rows(model)}")


def chosen_rows(model: keras.Model) -> int:
    return rows_for(traced_model(model, tf.TensorSpec((None, *model.input_shape[1:]))).row_bytes)


if __name__ == "__main__":
    run()
