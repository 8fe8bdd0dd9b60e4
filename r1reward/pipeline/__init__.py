"""The notebooks as a chain of steps: running, staleness, manifests, publishing and verifying.

A notebook needs only `start`: `run = start("03_stable_reinforce", profile=profile, seed=seed)`.
"""

from r1reward.pipeline.notebook import MissingInputError, Run, start

__all__ = ["MissingInputError", "Run", "start"]
