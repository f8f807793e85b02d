"""The store of readings: parquet parts of readings, activations and conversations, on disk or object store."""
