"""The notebooks as a chain of steps: running, staleness, manifests, publishing and verifying.

A notebook needs only `start`: `run = start("03_stable_reinforce", profile=profile, seed=seed)`.
"""

from r1reward.pipeline.notebook import Run, start, turn
from r1reward.pipeline.ready import MissingInputError, NotReadyError

__all__ = ["MissingInputError", "NotReadyError", "Run", "start", "turn"]
