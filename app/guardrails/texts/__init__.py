"""Where the texts of a request and of an answer stand."""
