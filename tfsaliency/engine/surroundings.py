"""Where a question can be asked: where TensorFlow computes at once, and in a process that it works in."""

import os

import tensorflow as tf

_stopped_by_fork = False


def check_surroundings() -> None:
    """Raises where a call cannot be answered.

    Raises:
        RuntimeError: within a graph that is being traced, or in a fork of a process in which TensorFlow ran.
    """
    if not tf.executing_eagerly():
        raise RuntimeError(
            "An explanation holds arrays, and here TensorFlow only traces: within a tf.function, Dataset.map or a "
            "Keras layer. Call it outside. In Dataset.map wrap it: "
            "tf.numpy_function(lambda x: explainer.explain(x, target).values, [x], tf.float32)."
        )
    if _stopped_by_fork:
        raise RuntimeError(
            "This process is a fork of one in which TensorFlow had already run (os.fork, or the start method 'fork' of "
            "multiprocessing). Its threads are missing here, so it would wait forever. Start processes by "
            "multiprocessing.get_context('spawn'), and load the model in each."
        )


def _after_fork() -> None:
    global _stopped_by_fork
    _stopped_by_fork = _stopped_by_fork or _has_started()


def _has_started() -> bool:
    """Whether TensorFlow has made its threads: then it refuses another number of them."""
    threads = tf.config.threading
    number = threads.get_inter_op_parallelism_threads()
    try:
        threads.set_inter_op_parallelism_threads(number + 1)
    except RuntimeError:
        return True
    threads.set_inter_op_parallelism_threads(number)
    return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
