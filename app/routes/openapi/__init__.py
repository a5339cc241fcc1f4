"""GET /openapi.json: the wire contract, made of the tables by which requests are validated."""
