"""Audits: is a judge biased."""
