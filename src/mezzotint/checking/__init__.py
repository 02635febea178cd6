"""Anybody's sampler, measured against exact solutions."""
