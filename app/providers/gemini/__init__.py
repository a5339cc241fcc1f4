"""Google's Gemini API, and Vertex AI, which speaks the same.

Source: https://ai.google.dev/api/generate-content and /embeddings.
"""
