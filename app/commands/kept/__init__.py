"""``headgate cache``: the answers that the gateways keep."""
