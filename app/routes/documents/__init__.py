"""/docs, its pages as Markdown, /llms.txt and /openapi.json: the documents that the gateway serves."""
