"""What the translated providers share: conversations, chunks, usage, and one interface."""
