"""Settings: one YAML file as frozen structs."""
