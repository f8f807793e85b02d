"""Target and pack: what they are, how they are checked, how their prompts and scores are made."""
