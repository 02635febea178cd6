"""The REST API: what requests say, who may ask, what answers look like."""
