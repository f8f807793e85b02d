"""The pipeline: a planned run goes through capture, verbalize and score, and lands in a store."""
