"""What Inspect imports through the entry point: registers the provider, solvers, scorers and tasks."""
