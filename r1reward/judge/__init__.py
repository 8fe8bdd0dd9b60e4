"""The reward model as a judge of response pairs, and judges of its consistency (paper §3.2)."""
