"""How good are pictures? Metrics, the networks whose features they compare (judges), the real pictures (references)."""
