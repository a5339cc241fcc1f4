"""Chat completions: the wire contract, pure."""
