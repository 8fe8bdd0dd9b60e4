"""Reward benchmarks as data tables, the runner that judges them and their scores (paper §4)."""
