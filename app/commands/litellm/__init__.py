"""``headgate init --from-litellm``: LiteLLM's configuration in our words, and what has none.

Source: LiteLLM 1.106's proxy: its config.yaml, and the objects of its GET /key/list.
"""
