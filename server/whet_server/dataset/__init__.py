"""Data sets: versions, splits, seals."""
