"""The parts of the chain, which app/pipeline.py puts together."""
