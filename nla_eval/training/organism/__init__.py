"""The organism: a target with an adapter that carries a planted, silent bit. Its prompts, training, and checks."""
