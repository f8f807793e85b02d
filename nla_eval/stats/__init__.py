"""Estimators, one per file: pure functions on plain values, each with its source. No torch, no Inspect, no files.

Import each from its own module: a new one touches no list."""
