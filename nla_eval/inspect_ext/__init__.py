"""The pipeline inside Inspect: tasks' steps, the scorer, the target's provider and what a log keeps."""
