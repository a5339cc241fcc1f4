"""What the types of a configuration cannot say."""
