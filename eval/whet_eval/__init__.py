"""Benchmarks, and the provider stub that tests and benchmarks call."""
