"""What packs are trained on: conversations, corpus, activations."""
