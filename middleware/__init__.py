"""The hallway: one pure ASGI class a file, one question each. Layers answer, they never raise."""
