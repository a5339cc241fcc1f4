"""The simulator: a provider in process, for trying the gateway and for load tests."""
