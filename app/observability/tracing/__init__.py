"""Spans of requests and of their upstream calls, and how they leave by OTLP."""
