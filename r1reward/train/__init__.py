"""Training: the cold start, StableReinforce, and the curriculum that makes the shipped base model."""

import r1reward.torchvision_ops  # noqa: F401  (before any module here imports transformers)
