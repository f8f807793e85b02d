"""The instrument on planted worlds: what is planted is known, so every printed number can be checked against it."""
