"""Lists and proves runs: a thin room over the log."""
