"""The admin API: one file a resource, each with its rows of the table of routes."""
