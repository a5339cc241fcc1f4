"""Which target is asked, what follows when it fails, and when it is left alone."""
