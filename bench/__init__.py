"""The load harness: what each feature costs, beside a floor measured in the same run."""
