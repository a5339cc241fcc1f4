"""How an answer is taken from a call, kept, shared and given out again."""
