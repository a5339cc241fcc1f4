"""The JSON Schema of the file, with a sentence for each setting, for editors."""
