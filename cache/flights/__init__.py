"""One upstream call for many callers (singleflight)."""
