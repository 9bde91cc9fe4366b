"""Whatever can be explained, called once and never changed."""
