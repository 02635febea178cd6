"""A model's network as one file that runs without this package, and what samples with it."""
