"""Runs as tasks of this server: begun, watched, cancelled, taken up after a crash, drained."""
