"""The keys of the tests' configurations and the secrets of their upstreams: none may leak."""

from __future__ import annotations

PROVIDER_KEY = "sk-upstream-51f0a9d2c7e84b36"
OPERATOR_SECRET = "op-header-7d1c02b9e6f34a58"

KEY = "hg-all-3f9c1d7a5e2b4860"
COLLEAGUE = "hg-colleague-0123456789abcdef"  # another key of the tenant of KEY
STRANGER = "hg-stranger-0123456789abcdef"  # a key of another tenant
KEYS = {
    "all": KEY,
    "colleague": COLLEAGUE,
    "stranger": STRANGER,
    "expired": "hg-expired-71b2c3d4e5f60718",
    "later": "hg-later-0a1b2c3d4e5f6071",
    "embedder": "hg-embedder-9a8b7c6d5e4f3021",
    "team": "hg-team-5566778899aabbcc",
    "new-secret": "hg-rotated-new-1122334455667788",
    "old-secret": "hg-rotated-old-8877665544332211",
    "hashed": "hg-hashed-0123456789abcdef",
}
