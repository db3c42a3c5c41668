"""Webhooks: what a run's end tells the world outside."""
