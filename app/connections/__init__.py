"""What callers' connections may hold of a worker: sockets, bytes and attention."""
