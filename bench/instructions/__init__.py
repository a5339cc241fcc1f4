"""Instructions a request: a figure that a busy or slow machine does not change."""
