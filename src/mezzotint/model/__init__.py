"""Trained models: requests, samples, and their cost."""
