"""Experiments that answer a question with numbers and a picture."""
