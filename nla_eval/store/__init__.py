"""The store of readings: parquet parts, activations and conversations on disk or object store."""
