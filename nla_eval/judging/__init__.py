"""Judging: texts go to a classifier and come back as judgements."""
