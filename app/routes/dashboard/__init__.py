"""The dashboard: its page, who is signed in, and calls from its playground."""
