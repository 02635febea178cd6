"""Judges: networks from pictures to features and class probabilities."""
