"""What a kept answer is, and where it stands: in the worker, in the store."""
