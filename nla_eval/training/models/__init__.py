"""AR and AV during training: losses, optimiser, passes and weights."""
