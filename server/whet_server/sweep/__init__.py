"""Sweeps: prompts, models and parameters optimised under a budget."""
