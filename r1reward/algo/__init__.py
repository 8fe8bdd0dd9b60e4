"""StableReinforce and the algorithms beside it, as pure functions of tensors (paper §2, §3.1, §3.2).

Shapes: B responses, T tokens. Log-probabilities are those of the sampled tokens at the sampling
temperature. Nothing here reads files, logs or knows a configuration, so every trainer can call it.
"""

from r1reward.algo.advantages import filter_advantages, group_advantages, standardize_advantages
from r1reward.algo.losses import LossOutput, policy_loss, reduce_loss
from r1reward.algo.ratio import policy_ratio
from r1reward.algo.rewards import final_reward

__all__ = [
    "LossOutput",
    "filter_advantages",
    "final_reward",
    "group_advantages",
    "policy_loss",
    "policy_ratio",
    "reduce_loss",
    "standardize_advantages",
]
