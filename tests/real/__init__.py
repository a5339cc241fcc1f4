"""Headgate between inference servers and clients that none of its authors wrote."""
