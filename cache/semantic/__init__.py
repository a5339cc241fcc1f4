"""Answers to prompts that mean the same."""
