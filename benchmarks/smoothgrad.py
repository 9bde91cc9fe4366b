"""How near SmoothGrad comes to infinitely many samples, and how near it comes with the filter of DenoisedSmoothGrad."""

import numpy as np

import tfsaliency as tfs
from tfsaliency import zoo

SAMPLES = (16, 32, 64, 128)
# Of each of the two maps that stand for infinitely many samples.
MANY = 512


def run() -> None:
    model = zoo.efficientnet_lite0()
    photos = np.concatenate([zoo.preprocess(photo) for photo in zoo.photographs().values()])
    # The errors of two independent maps cancel in their product.
    halves = [tfs.SmoothGrad(model, samples=MANY, seed=seed).explain(photos).values for seed in (1, 2)]
    many, power = np.mean(halves, axis=0), _products(*halves)
    print(
        f"\nSmoothGrad: EfficientNet-Lite0, medians of {len(photos)} photographs: cosine with infinitely many samples,"
    )
    print("distance from them as a share of their norm, estimated distance, estimated bias")
    for samples in SAMPLES:
        for method in (tfs.SmoothGrad, tfs.DenoisedSmoothGrad):
            explanation = method(model, samples=samples).explain(photos)
            own, shared = _products(explanation.values, explanation.values), _products(explanation.values, many)
            cosine = np.median(shared / np.sqrt(own * power))
            error = np.median(np.sqrt((own - 2 * shared + power) / power))
            told = np.median(explanation.diagnostics["relative_error"])
            bias = np.median(explanation.diagnostics.get("relative_bias", 0.0))
            print(f"  {samples:4} {method.__name__:20} {cosine:6.3f} {error:6.2f} {told:6.2f} {bias:6.2f}")


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nhwc,nhwc->n", a.astype("float64"), b.astype("float64"))


if __name__ == "__main__":
    run()
