"""Judges and judgements: rubrics, verdicts, sums."""
