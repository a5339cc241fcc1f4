"""`headgate cache estimate`: what the cache would have answered of a log of prompts."""
