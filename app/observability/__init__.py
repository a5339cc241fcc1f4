"""What is told about requests: log lines and records."""
