"""The pipeline: takes a planned run through capture, verbalize and score, into a store."""
