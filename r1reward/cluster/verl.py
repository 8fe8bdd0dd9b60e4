"""StableReinforce for verl 0.9.1, which takes losses and advantage estimators by name.

Set VERL_USE_EXTERNAL_MODULES=r1reward.cluster.verl, algorithm.adv_estimator=stable_reinforce and
actor_rollout_ref.actor.policy_loss.loss_mode=stable_reinforce.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import (  # type: ignore[import-not-found]
    agg_loss,
    register_adv_est,
    register_policy_loss,
)

from r1reward.algo import filter_advantages, policy_loss, standardize_advantages

NAME = "stable_reinforce"


@register_policy_loss(NAME)
def stable_reinforce_loss(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of `algo` on (B, T) tensors, reduced and logged as verl wants it.

    The clipping range is `clip_ratio_low` and `clip_ratio_high` of the actor, or `clip_ratio` where one of
    them is not set, as in verl's own losses.
    """
    low, high = (
        config.clip_ratio if side is None else side
        for side in (config.clip_ratio_low, config.clip_ratio_high)
    )
    output = policy_loss(
        NAME,
        log_prob,
        old_log_probs=old_log_prob,
        advantages=advantages,
        mask=response_mask,
        clip_eps=low,
        clip_eps_high=high,
    )
    weights = 1.0 if rollout_is_weights is None else rollout_is_weights
    loss = agg_loss(
        loss_mat=output.per_token * weights,
        loss_mask=response_mask,
        loss_agg_mode=loss_agg_mode,
        **config.global_batch_info,
    )
    return loss, {f"actor/{name}": value for name, value in output.metrics.items()}


@register_adv_est(NAME)
@torch.no_grad()
def stable_reinforce_advantages(
    token_level_rewards: Tensor, response_mask: Tensor, config: Any = None, **_: Any
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (B, T): rewards to go, standardised over all tokens and filtered."""
    rewards = token_level_rewards * response_mask
    returns = rewards.flip(1).cumsum(1).flip(1) * response_mask
    return filter_advantages(standardize_advantages(returns, response_mask)), returns
