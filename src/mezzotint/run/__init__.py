"""One run, from a configuration to a model file."""
