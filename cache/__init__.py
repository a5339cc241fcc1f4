"""The pantry: all shared state, behind narrow protocols."""
