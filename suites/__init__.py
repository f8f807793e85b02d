"""Suites: one task file and one card each. A suite runs by path or by registry name."""
