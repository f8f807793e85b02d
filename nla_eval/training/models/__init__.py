"""AR and AV in training: losses, optimiser, passes and weights."""
