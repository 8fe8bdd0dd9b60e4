"""Training: the cold start (`sft`) and reinforcement learning (`rl`); both resume after a kill."""
