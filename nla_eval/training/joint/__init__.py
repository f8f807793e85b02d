"""The joint stage: the AV by GRPO, the AR on the same rollouts."""
