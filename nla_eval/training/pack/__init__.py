"""From a run's checkpoints to a pack, and to checkpoints in the public format."""
