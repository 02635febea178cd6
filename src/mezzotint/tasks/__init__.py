"""Tasks: sampling, editing, enlarging, colouring, morphing, inversion."""
