"""Floods on loopback: what a caller who means harm can do to a neighbour, each in its own file."""
