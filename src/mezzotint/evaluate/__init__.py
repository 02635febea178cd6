"""How good are pictures? Metrics, judges that look, the real pictures that they are measured against."""
