"""Whet."""
