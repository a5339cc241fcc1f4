"""The response cache at work."""
