"""Training data: conversations, corpus, activations."""
