"""Values as people write them in the file: quantities, addresses, names, patterns."""
