"""The vocabulary: pure values and rules. No I/O, no clock, no framework."""
