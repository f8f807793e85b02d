"""What a pack is worth: held-out rows, tasks, pairs, ablation and the card made of them."""
