"""What the gateway answers: one file a resource. Routes raise; the chain around them answers."""
