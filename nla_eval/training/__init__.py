"""Trains NLA packs: corpus, activations, warm-start explanations, AR, AV, card and export."""
