"""Tasks for lmms-eval: the three reward benchmarks with R1-Reward's prompt, in both orders."""
