"""The back door: everything that talks to an upstream."""
