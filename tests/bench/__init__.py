"""Measures: whole runs beside their floor, instruction counts, idling, peers."""
