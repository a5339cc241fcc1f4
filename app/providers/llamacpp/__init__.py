"""llama.cpp's own server, where it goes beyond the OpenAI API.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md.
"""
