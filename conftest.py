import os

import pytest

# Before TensorFlow is imported: tests run on the CPU, without its greeting.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "agg"
# TensorFlow turns these kernels on by itself where a processor has AVX-512 alone. Without them it has no convolution
# with channels first on a CPU, and rounds in another way.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"

# Runs in an environment of its own, with PyTorch.
collect_ignore = ["tests/references/make.py"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Weights of the models of tests and examples are the same at every run, in any order and on any worker."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _alone() -> None:
    """No test runs what another has compiled: it may have changed the package for itself."""
    from tfsaliency.engine.shared import forget_shared

    forget_shared()
