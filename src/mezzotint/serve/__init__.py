"""A trained model as a service: an engine that shares each network call between requests, and a REST API on it."""
