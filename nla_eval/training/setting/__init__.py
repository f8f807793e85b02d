"""The setting adapter: notices, conversations under them, training, calibration, and what it is worth."""
