"""Fixtures: services of their own, since they are broken here."""

from harness.broken import lab, stack

__all__ = ["lab", "stack"]
