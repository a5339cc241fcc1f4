"""The upstream client: one HTTP call, and what its failures become."""
