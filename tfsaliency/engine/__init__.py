"""One question answered: inputs checked, model traced once, run in device batches."""
