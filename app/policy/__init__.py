"""What configuration and key mean for one key and one model."""
