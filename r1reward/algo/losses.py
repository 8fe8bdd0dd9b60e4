"""Policy losses side by side: REINFORCE, PPO-clip, REINFORCE++, GRPO and StableReinforce.

Each algorithm is one function from token tensors of shape (B, T) to a per-token loss; reducing it to a
number is a separate step. How advantages are made (standardised over the batch, by group, filtered) is
the trainer's business.

Where a KL penalty against the reference policy is applied: grpo adds `kl_coef * k3` to the loss of each
token, here. For reinforce, ppo, reinforce_pp and stable_reinforce it is part of the token reward: the
trainer subtracts it before it makes the advantages, and `kl_coef` has no effect here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from r1reward.algo.ratio import PRE_CLIP, log_bound, policy_ratio
from r1reward.settings import Algorithm

Reduction = Literal["token", "response", "sequence"]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss function sees: (B, T) tensors whose masked tokens are 0, and its settings."""

    log_probs: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    ref_log_probs: Tensor | None
    clip_eps: float
    clip_eps_high: float
    pre_clip: float | None
    kl_coef: float
    own_ratio: Callable[[Tensor, Tensor], Tensor] | None = None

    def ratio(self) -> Tensor:
        """The ratio of new and old policy, bounded by `pre_clip` where it is on, or a caller's."""
        if self.own_ratio is not None:
            return self.own_ratio(self.log_probs, self.old_log_probs)
        return policy_ratio(self.log_probs, self.old_log_probs, pre_clip=self.pre_clip)

    def log_ratio(self) -> Tensor:
        """The log-ratio before Pre-CLIP, in float64."""
        return self.log_probs.double() - self.old_log_probs.double()


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A scalar loss and its (B, T) per-token parts, both with gradient, and metrics as plain numbers.

    Metrics are means over counted tokens unless said otherwise:
    policy_loss; policy_loss_max, the largest token loss; num_tokens, the number of counted tokens;
    clip_share, tokens whose clipped surrogate is the smaller one;
    high_negative_share, tokens whose ratio is above the clipping range though their advantage is negative:
    PPO's clipping does not bound their loss, Pre-CLIP does (paper §2.1);
    log_ratio_max, the largest |log-ratio| before Pre-CLIP;
    approx_kl, k3 of old and new policy from the log-ratio the loss uses (infinite where that overflows);
    pre_clip_{high,low}_{positive,negative}, the share of tokens above the upper or below the lower bound
    by sign of the advantage; with Pre-CLIP off against 1e3, so what it would have caught;
    reference_kl, k3 of policy and reference, only where a reference is given.
    """

    loss: Tensor
    per_token: Tensor
    metrics: dict[str, float]


def policy_loss(
    name: Algorithm,
    log_probs: Tensor,
    *,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_eps: float = 0.2,
    clip_eps_high: float | None = None,
    pre_clip: float | Literal["default"] | None = "default",
    ref_log_probs: Tensor | None = None,
    kl_coef: float = 0.0,
    ratio: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> LossOutput:
    """The loss of one batch of sampled tokens; all tensors are (B, T), log-probabilities in nats.

    `mask` is true at response tokens; whatever stands elsewhere, NaN included, changes nothing. Only
    `log_probs` gets a gradient. The ratio is clipped to `1 - clip_eps .. 1 + clip_eps_high`, unless given the
    same width. `pre_clip` bounds the ratio: "default" is 1e3 for stable_reinforce and off
    for the others, None is off; reinforce has no ratio. `ratio`, of new and old log-probs, replaces it;
    metrics then say what `pre_clip` would have met. `kl_coef` acts for grpo only, see the module.
    `loss` is the token mean of this batch (the paper's 1/|t| sum); a trainer that splits a batch adds up
    `reduce_loss(per_token, mask, denominator=tokens of the whole batch)` over its parts instead.

    Raises ValueError for an unknown name, shapes that differ, or grpo with `kl_coef` and no reference.
    """
    if name not in LOSSES:
        raise ValueError(f"no policy loss is called {name!r}; there are {', '.join(LOSSES)}")
    _check_shapes(log_probs, mask, old_log_probs, advantages, ref_log_probs)
    counted = mask.bool()
    inputs = LossInputs(
        log_probs=_keep(log_probs, counted),
        old_log_probs=_keep(old_log_probs.detach(), counted),
        advantages=_keep(advantages.detach(), counted),
        ref_log_probs=None if ref_log_probs is None else _keep(ref_log_probs.detach(), counted),
        clip_eps=clip_eps,
        clip_eps_high=clip_eps if clip_eps_high is None else clip_eps_high,
        pre_clip=default_pre_clip(name) if pre_clip == "default" else pre_clip,
        kl_coef=kl_coef,
        own_ratio=ratio,
    )
    per_token = _keep(LOSSES[name](inputs), counted)
    loss = reduce_loss(per_token, counted)
    return LossOutput(loss, per_token, _metrics(name, inputs, per_token.detach(), counted))


def default_pre_clip(name: Algorithm) -> float | None:
    """The bound of the ratio where none is set: 1e3 for stable_reinforce, off for the others."""
    return PRE_CLIP if name == "stable_reinforce" else None


def reinforce(inputs: LossInputs) -> Tensor:
    """REINFORCE: `-A log π` (Williams 1992). Unbiased only while the policy is the one that sampled."""
    return -inputs.advantages * inputs.log_probs


def ppo(inputs: LossInputs) -> Tensor:
    """PPO-clip: `-min(r A, clip(r, 1 - ε, 1 + ε) A)` (arXiv:1707.06347 Eq. 7; paper Algorithm 1)."""
    return _clipped_surrogate(inputs)


def reinforce_pp(inputs: LossInputs) -> Tensor:
    """REINFORCE++ (arXiv:2501.03262): PPO's surrogate without a critic.

    What sets it apart lies in its advantages: standardised over the whole batch, with the KL penalty
    of each token inside the reward.
    """
    return _clipped_surrogate(inputs)


def grpo(inputs: LossInputs) -> Tensor:
    """GRPO (arXiv:2402.03300 Eq. 3 and 4): PPO's surrogate plus `kl_coef` times k3 to the reference."""
    surrogate = _clipped_surrogate(inputs)
    if inputs.kl_coef == 0:
        return surrogate
    if inputs.ref_log_probs is None:
        raise ValueError("grpo with kl_coef above 0 needs ref_log_probs")
    return surrogate + inputs.kl_coef * _k3(inputs.ref_log_probs - inputs.log_probs)


def stable_reinforce(inputs: LossInputs) -> Tensor:
    """StableReinforce (paper §3.1): PPO's surrogate of the Pre-CLIP ratio, over filtered advantages.

    So its body is that of REINFORCE++: `default_pre_clip` bounds its ratio, and its trainer filters the
    advantages (`filter_advantages`).

    A token beyond Pre-CLIP's bounds has a bounded loss and no gradient.
    """
    return _clipped_surrogate(inputs)


LOSSES: dict[Algorithm, Callable[[LossInputs], Tensor]] = {
    "reinforce": reinforce,
    "ppo": ppo,
    "reinforce_pp": reinforce_pp,
    "grpo": grpo,
    "stable_reinforce": stable_reinforce,
}
# Losses that clip no ratio, so that no token of theirs is counted as clipped.
UNCLIPPED: tuple[Algorithm, ...] = ("reinforce",)


def reduce_loss(
    per_token: Tensor, mask: Tensor, *, how: Reduction = "token", denominator: float | Tensor | None = None
) -> Tensor:
    """A (B, T) per-token loss as one number.

    "token" is the mean over counted tokens (the paper's 1/|t| sum); "response" the mean over responses
    of each one's token mean (as the authors released it); "sequence" the mean over responses of each
    one's token sum. `denominator` replaces the number of counted tokens ("token") or of responses with
    any counted token: give the whole batch's number when the batch is sharded or accumulated, and the
    results of the parts add up to that of the whole. A batch with nothing counted gives 0. Raises
    ValueError for an unknown `how`.
    """
    counted = mask.bool()
    kept = _keep(per_token, counted)
    lengths = counted.sum(dim=-1)
    if how == "token":
        total, number = kept.sum(), lengths.sum()
    elif how in ("response", "sequence"):
        sums = kept.sum(dim=-1)
        total = (sums / lengths.clamp(min=1) if how == "response" else sums).sum()
        number = (lengths > 0).sum()
    else:
        raise ValueError(f"how must be token, response or sequence, got {how!r}")
    return total / (number.clamp(min=1) if denominator is None else denominator)


def pre_clip_shares(
    log_ratio: Tensor, advantages: Tensor, counted: Tensor, *, pre_clip: float | None
) -> dict[str, Tensor]:
    """The `pre_clip_*` metrics of `LossOutput` for another trainer's loss; all tensors are (B, T)."""
    hits = _pre_clip_hits(log_ratio, advantages, _watched_bound(pre_clip))
    return {name: reduce_loss(hit.double(), counted) for name, hit in hits.items()}


def _pre_clip_hits(log_ratio: Tensor, advantages: Tensor, bound: float) -> dict[str, Tensor]:
    high, low, positive, negative = log_ratio > bound, log_ratio < -bound, advantages > 0, advantages < 0
    return {
        "pre_clip_high_positive": high & positive,
        "pre_clip_high_negative": high & negative,
        "pre_clip_low_positive": low & positive,
        "pre_clip_low_negative": low & negative,
    }


def _watched_bound(pre_clip: float | None) -> float:
    """The bound of the log-ratio; without Pre-CLIP its default, so what it would have caught."""
    return log_bound(PRE_CLIP if pre_clip is None else pre_clip)


def _clipped_surrogate(inputs: LossInputs) -> Tensor:
    ratio = inputs.ratio()
    clipped = ratio.clamp(1 - inputs.clip_eps, 1 + inputs.clip_eps_high)
    return -torch.min(ratio * inputs.advantages, clipped * inputs.advantages)


def _k3(log_ratio: Tensor) -> Tensor:
    """Schulman's non-negative KL estimator `r - 1 - log r`."""
    return torch.expm1(log_ratio) - log_ratio


def _keep(values: Tensor, counted: Tensor) -> Tensor:
    """Zeros in place of masked tokens; unlike a product this also stops NaN and infinity."""
    return torch.where(counted, values, torch.zeros_like(values))


def _check_shapes(log_probs: Tensor, mask: Tensor, *others: Tensor | None) -> None:
    shapes = {tuple(tensor.shape) for tensor in (log_probs, mask, *others) if tensor is not None}
    if len(shapes) != 1 or log_probs.ndim != 2:
        raise ValueError(f"all tensors of a policy loss must have one shape (B, T), got {sorted(shapes)}")


@torch.no_grad()
def _metrics(name: Algorithm, inputs: LossInputs, per_token: Tensor, counted: Tensor) -> dict[str, float]:
    num_tokens = int(counted.sum())
    log_ratio = inputs.log_ratio()
    ratio, positive, negative = inputs.ratio(), inputs.advantages > 0, inputs.advantages < 0
    high = ratio > 1 + inputs.clip_eps_high
    clipped = (positive & high) | (negative & (ratio < 1 - inputs.clip_eps))
    bound = _watched_bound(inputs.pre_clip)
    used = log_ratio if inputs.pre_clip is None else log_ratio.clamp(-bound, bound)
    quantities = {
        "policy_loss": per_token,
        "clip_share": torch.zeros_like(clipped) if name in UNCLIPPED else clipped,
        "high_negative_share": negative & high,
        "approx_kl": _k3(used),
        **_pre_clip_hits(log_ratio, inputs.advantages, bound),
    }
    if inputs.ref_log_probs is not None:
        quantities["reference_kl"] = _k3(inputs.ref_log_probs - inputs.log_probs)
    means = {key: float(reduce_loss(value.double(), counted)) for key, value in quantities.items()}
    extremes = {
        "policy_loss_max": float(per_token[counted].max()) if num_tokens else 0.0,
        "log_ratio_max": float(log_ratio[counted].abs().max()) if num_tokens else 0.0,
    }
    return means | extremes | {"num_tokens": float(num_tokens)}
