"""One widget a file, and what they draw with."""
