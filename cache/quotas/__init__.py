"""Limits, budgets and counts that hold over all replicas."""
