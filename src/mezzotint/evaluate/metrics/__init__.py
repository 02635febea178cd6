"""Numbers about pictures or their features."""
