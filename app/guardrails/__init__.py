"""Rules over the texts of a call: what they find, and what becomes of it."""
