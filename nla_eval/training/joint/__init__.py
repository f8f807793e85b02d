"""The joint stage: GRPO for the AV, regression for the AR on the same rollouts."""
