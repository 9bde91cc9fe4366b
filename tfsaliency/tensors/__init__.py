"""Arithmetic on batches of tensors. Nothing here knows a model."""
