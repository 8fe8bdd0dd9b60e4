"""Losses of other libraries as they were published, for comparison. Only tests import this file.

Both libraries are licensed under the Apache License, Version 2.0. Settings that are off here were left
out, and masks are multiplied in as there; the arithmetic and its order are theirs.
"""

from torch import Tensor


def openrlhf_ppo(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    action_mask: Tensor,
    *,
    clip_eps: float = 0.2,
) -> Tensor:
    """`PolicyLoss.forward` of OpenRLHF 0.11.2, `openrlhf/models/loss.py`, and its `masked_mean`.

    Copyright the OpenRLHF authors. Left out: GSPO, dual clip, the correction for vLLM's log-probs and
    the per-sequence mean. All tensors are (B, T); the result is the mean over the counted tokens.
    """
    raw_policy_log_ratio = log_probs - old_log_probs
    policy_log_ratio = raw_policy_log_ratio.clamp(min=-20.0, max=20.0)
    ratio = policy_log_ratio.exp()
    surr1 = ratio * advantages
    surr2 = ratio.clamp(1 - clip_eps, 1 + clip_eps) * advantages
    loss = -surr1.min(surr2)
    return (loss * action_mask).sum() / action_mask.sum()


def trl_grpo(
    per_token_logps: Tensor,
    old_per_token_logps: Tensor,
    ref_per_token_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    epsilon: float = 0.2,
    beta: float = 0.0,
) -> Tensor:
    """`GRPOTrainer._compute_loss` of TRL 1.16.0, `trl/trainer/grpo_trainer.py`, with loss type "bnpo".

    Copyright 2020-2026 The HuggingFace Team. Left out: sequence ratios, two-sided clipping, the masks by
    entropy and policy, and the correction for vLLM. Log-probs and mask are (B, T); advantages are (B,).
    """
    coef_1 = (per_token_logps - old_per_token_logps).exp()
    advantages = advantages.unsqueeze(1)
    per_token_kl = (ref_per_token_logps - per_token_logps).exp() - (ref_per_token_logps - per_token_logps) - 1
    coef_2 = coef_1.clamp(1 - epsilon, 1 + epsilon)
    per_token_loss1 = coef_1 * advantages
    per_token_loss2 = coef_2 * advantages
    per_token_loss = -per_token_loss1.min(per_token_loss2)
    if beta != 0.0:
        per_token_loss = per_token_loss + beta * per_token_kl
    return (per_token_loss * mask).sum() / mask.sum().clamp(min=1.0)
