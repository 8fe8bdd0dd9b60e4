"""Loss and gradient against what OpenRLHF and TRL publish, and our algorithms against each other."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from r1reward.algo import policy_loss, standardize_advantages
from r1reward.settings import Algorithm

sys.path.insert(0, str(Path(__file__).parent))

from reference_losses import openrlhf_ppo, trl_grpo

SEEDS = range(6)
EXACT = {"atol": 1e-6, "rtol": 1e-6}


class Tokens:
    """A random batch in float64; log-ratios of up to about 3, so that clipping binds on every side."""

    def __init__(self, seed: int, *, shape: tuple[int, int] = (6, 9), spread: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.old = -torch.rand(shape, generator=generator, dtype=torch.float64) * 4 - 0.1
        shift = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.new = self.old + spread * shift
        self.reference = self.old + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        self.by_response = torch.randn(shape[0], generator=generator, dtype=torch.float64)
        self.by_token = torch.randn(shape, generator=generator, dtype=torch.float64)
        lengths = torch.randint(1, shape[1] + 1, (shape[0],), generator=generator)
        self.mask = torch.arange(shape[1])[None] < lengths[:, None]

    def ours(
        self, name: Algorithm, advantages: Tensor, *, pre_clip: float | None = None, kl_coef: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        return gradient(
            lambda new: (
                policy_loss(
                    name,
                    new,
                    old_log_probs=self.old,
                    advantages=advantages,
                    mask=self.mask,
                    pre_clip=pre_clip,
                    ref_log_probs=self.reference,
                    kl_coef=kl_coef,
                ).loss
            ),
            self.new,
        )


def gradient(loss: Callable[[Tensor], Tensor], new: Tensor) -> tuple[Tensor, Tensor]:
    """A loss and its gradient with respect to the new log-probs."""
    variable = new.clone().requires_grad_()
    value = loss(variable)
    (slope,) = torch.autograd.grad(value, variable)
    return value.detach(), slope


def assert_same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(one[0], other[0], **EXACT)
    torch.testing.assert_close(one[1], other[1], **EXACT)


def clipped_on_both_sides(tokens: Tokens, advantages: Tensor) -> bool:
    """Whether clipping takes the gradient of some token above and of some below, and leaves some."""
    ratio = (tokens.new - tokens.old).exp()
    high = (ratio > 1.2) & (advantages > 0) & tokens.mask
    low = (ratio < 0.8) & (advantages < 0) & tokens.mask
    left = tokens.mask & ~high & ~low
    return bool(high.any() and low.any() and left.any())


@pytest.mark.parametrize("seed", SEEDS)
def test_ppo_is_that_of_openrlhf(seed: int) -> None:
    tokens = Tokens(seed)
    assert clipped_on_both_sides(tokens, tokens.by_token)
    theirs = gradient(
        lambda new: openrlhf_ppo(new, tokens.old, tokens.by_token, tokens.mask.double()), tokens.new
    )
    assert_same(tokens.ours("ppo", tokens.by_token), theirs)


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
@pytest.mark.parametrize("seed", SEEDS)
def test_grpo_is_that_of_trl(seed: int, kl_coef: float) -> None:
    tokens = Tokens(seed)
    advantages = tokens.by_response[:, None].expand(tokens.old.shape)
    theirs = gradient(
        lambda new: trl_grpo(
            new, tokens.old, tokens.reference, tokens.by_response, tokens.mask.double(), beta=kl_coef
        ),
        tokens.new,
    )
    assert_same(tokens.ours("grpo", advantages, kl_coef=kl_coef), theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_stable_reinforce_without_its_parts_is_reinforce_pp(seed: int) -> None:
    """The other part, the filter, is left out of the advantages; a token beyond Pre-CLIP tells them apart."""
    tokens = Tokens(seed, spread=4.0)
    advantages = standardize_advantages(tokens.by_token, tokens.mask)
    tokens.new[0, 0], advantages[0, 0] = tokens.old[0, 0] + 9, -1.0
    bare = tokens.ours("stable_reinforce", advantages, pre_clip=None)
    assert_same(bare, tokens.ours("reinforce_pp", advantages))
    with_pre_clip = tokens.ours("stable_reinforce", advantages, pre_clip=1e3)
    assert float(bare[1][0, 0]) > 100 and float(with_pre_clip[1][0, 0]) == 0.0


def test_beyond_its_own_clamp_openrlhf_bounds_the_loss_far_above_pre_clip() -> None:
    """A log-ratio of 30 at a negative advantage: e^20 there, 1e3 with Pre-CLIP, e^30 with neither."""
    new, old, ones = torch.zeros(1, 1), torch.full((1, 1), -30.0), torch.ones(1, 1)
    assert float(openrlhf_ppo(new, old, -ones, ones)) == pytest.approx(4.851652e8, rel=1e-5)
    for pre_clip, expected in ((1e3, 1e3), (None, 1.0686475e13)):
        output = policy_loss("ppo", new, old_log_probs=old, advantages=-ones, mask=ones, pre_clip=pre_clip)
        assert float(output.loss) == pytest.approx(expected, rel=1e-5)
