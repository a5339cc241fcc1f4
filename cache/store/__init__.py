"""One way to the shared store, embedded or Redis."""
