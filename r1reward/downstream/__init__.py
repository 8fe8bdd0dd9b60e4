"""What a reward model is for: a policy that learns from its comparisons (paper C.9)."""
