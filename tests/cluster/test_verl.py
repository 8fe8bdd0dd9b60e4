"""The adapter for verl against verl's own loss and estimator, and against our trainer's functions."""

import importlib
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from r1reward.algo import filter_advantages, policy_loss, standardize_advantages

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not find_spec("verl"), reason="verl is not installed: make test-cluster"),
]
B, T = 16, 7


@pytest.fixture
def batch() -> SimpleNamespace:
    rng = torch.Generator().manual_seed(3)
    old = -torch.rand(B, T, generator=rng) - 0.1
    new = (old + 0.1 * torch.randn(B, T, generator=rng)).requires_grad_()
    mask = torch.ones(B, T)
    mask[::2, -2:] = 0
    rewards = torch.zeros(B, T)
    rewards[torch.arange(B), mask.sum(1).long() - 1] = torch.rand(B, generator=rng)
    rewards[1] = 0
    rewards[1, -1] = -30.0
    return SimpleNamespace(old=old, new=new, mask=mask, rewards=rewards)


@pytest.fixture
def core():
    importlib.import_module("r1reward.cluster.verl")
    return importlib.import_module("verl.trainer.ppo.core_algos")


def test_it_is_known_by_its_name(core) -> None:
    assert core.get_policy_loss_fn("stable_reinforce") and core.get_adv_estimator_fn("stable_reinforce")


def test_advantages_are_verls_with_the_filter(core, batch: SimpleNamespace) -> None:
    given = {"token_level_rewards": batch.rewards, "response_mask": batch.mask}
    ours, returns = core.get_adv_estimator_fn("stable_reinforce")(**given)
    config = SimpleNamespace(gamma=1.0)
    theirs, their_returns = core.get_adv_estimator_fn("reinforce_plus_plus")(**given, config=config)
    torch.testing.assert_close(returns, their_returns)
    assert (ours[1] == 0).all() and theirs[1].abs().max() > 3
    kept = ours != 0
    # verl divides by the sample deviation, the paper's formula by the population's.
    torch.testing.assert_close(ours[kept], theirs[kept], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(ours, filter_advantages(standardize_advantages(returns, batch.mask)))


def test_the_loss_is_that_of_our_trainer(core, batch: SimpleNamespace) -> None:
    advantages = torch.randn(B, T, generator=torch.Generator().manual_seed(1)) * batch.mask
    config = SimpleNamespace(clip_ratio=0.2, clip_ratio_low=None, clip_ratio_high=None, global_batch_info={},
                             get=lambda name, default: default)  # fmt: skip
    loss, metrics = core.get_policy_loss_fn("stable_reinforce")(
        batch.old, batch.new, advantages, batch.mask, config=config
    )
    expected = policy_loss(
        "stable_reinforce", batch.new, old_log_probs=batch.old, advantages=advantages, mask=batch.mask
    )
    torch.testing.assert_close(loss, expected.loss, rtol=1e-5, atol=1e-6)
    assert metrics["actor/pre_clip_high_positive"] == 0.0
    # With ratios near 1 and no dual clipping in reach it is also verl's PPO.
    theirs, _ = core.get_policy_loss_fn("vanilla")(
        batch.old, batch.new, advantages, batch.mask, config=config
    )
    torch.testing.assert_close(loss, theirs, rtol=1e-5, atol=1e-6)
