"""The step-batching engine. No HTTP here."""
