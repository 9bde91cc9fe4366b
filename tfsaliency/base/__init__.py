"""What needs no TensorFlow: nested inputs, options, cache keys, files."""
