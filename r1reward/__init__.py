"""R1-Reward: a multimodal reward model trained by StableReinforce (arXiv:2505.02835)."""

__version__ = "0.1.0"
