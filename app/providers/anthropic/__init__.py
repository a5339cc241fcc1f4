"""The Anthropic Messages API.

Source: https://docs.anthropic.com/en/api/messages and /messages-streaming, version 2023-06-01.
"""
