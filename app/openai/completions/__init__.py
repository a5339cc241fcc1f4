"""Text completions: what is asked, what is answered, and how both are read."""
