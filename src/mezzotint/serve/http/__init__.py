"""The REST API: requests, access control, responses."""
