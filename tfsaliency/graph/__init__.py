"""A trace as data: its operations, what they do, and how to run them again. Knows TensorFlow, not Keras."""
