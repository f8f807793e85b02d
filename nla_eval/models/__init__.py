"""Target and pack: loading and checking them, their prompts and the AR scores."""
