"""Measures packs: held-out rows, tasks, pairs, ablation, and the card that reports them."""
