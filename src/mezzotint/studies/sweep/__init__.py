"""A grid of trained and sampled cells, as one table."""
