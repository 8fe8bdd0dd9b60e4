"""Stage 1 of the paper: R1-Reward-200K, its chains of thought and the RL subset (paper §3.2)."""
