"""One batch through our trainer's code and through OpenRLHF with the hook: the same loss and gradient."""

import importlib
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from r1reward.algo import policy_loss
from r1reward.cluster import hook
from r1reward.engines.log_probs import PolicyOutput
from r1reward.settings import RLSettings
from r1reward.train import rl
from r1reward.train.learner import Chunk
from r1reward.types import Completion, PreferencePair, Trajectory

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not find_spec("openrlhf"), reason="openrlhf is not installed: make test-cluster"),
]
B, T = 32, 9
STABLE, PLAIN = RLSettings(), RLSettings(algorithm="reinforce_pp", pre_clip="off", advantage_limit="off")


def upstream(settings: RLSettings | None):
    """OpenRLHF's loss and experience maker as they were published, or with the hook."""
    modules = [importlib.import_module(name) for name in list(hook.PATCHES)[:2]]
    for owner, method in ((modules[0].PolicyLoss, "forward"),
                          (modules[1].RemoteExperienceMaker, "compute_advantages_and_returns")):  # fmt: skip
        function = getattr(owner, method)
        setattr(owner, method, getattr(function, hook.PATCHED, function))
    if settings:
        hook.patch_loss(modules[0], settings)
        hook.patch_advantages(modules[1], settings)
    return modules


@pytest.fixture
def batch() -> SimpleNamespace:
    """Old and new log-probs far apart for a few tokens, and rewards of which one is far from the others."""
    rng = torch.Generator().manual_seed(7)
    old = -torch.rand(B, T, generator=rng) - 0.1
    new = old + 0.3 * torch.randn(B, T, generator=rng)
    new[0, :3] += torch.tensor([8.0, -8.0, 7.5])
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[::3, -2:] = False
    rewards = torch.full((B,), 2.0)
    rewards[1], rewards[2] = 0.0, 1.5
    return SimpleNamespace(old=old, new=new, mask=mask, rewards=rewards)


def ours(batch: SimpleNamespace, settings: RLSettings):
    pair = PreferencePair("p", "", "", ("", ""), 1)
    empty = Completion("", (), (), "stop", ())
    trajectories = [Trajectory(pair, empty, float(reward)) for reward in batch.rewards]
    chunk = Chunk(
        list(range(B)),
        {},
        torch.arange(B),
        torch.zeros(B, T),
        batch.mask,
        PolicyOutput(batch.old, torch.zeros(B)),
    )
    rl.advantages([chunk], trajectories, settings=settings)
    log_probs = batch.new.clone().requires_grad_()
    loss = policy_loss(
        settings.algorithm,
        log_probs,
        old_log_probs=batch.old,
        advantages=chunk.advantages,
        mask=batch.mask,
        pre_clip=None if settings.pre_clip == "off" else settings.pre_clip,
    ).loss
    loss.backward()
    return loss.detach(), log_probs.grad, chunk.advantages


def theirs(batch: SimpleNamespace, settings: RLSettings | None):
    loss_module, maker_module = upstream(settings)
    maker = maker_module.RemoteExperienceMaker.__new__(maker_module.RemoteExperienceMaker)
    maker.advantage_estimator, maker.kl_ctl = "reinforce", SimpleNamespace(value=0.0)
    advantage = SimpleNamespace(estimator="reinforce", gamma=1.0, lambd=1.0, no_std_norm=False)
    maker.strategy = SimpleNamespace(
        args=SimpleNamespace(
            algo=SimpleNamespace(advantage=advantage),
            rollout=SimpleNamespace(n_samples_per_prompt=1),
            reward=SimpleNamespace(clip_range=None),
        )
    )
    maker.args = maker.strategy.args
    experience = importlib.import_module("openrlhf.trainer.ppo_utils.experience").Experience
    one = experience(
        action_mask=batch.mask,
        rewards=batch.rewards.clone(),
        kl=torch.zeros(B, T),
        index=list(range(B)),
        info={},
    )
    (one,) = maker.compute_advantages_and_returns([one])
    log_probs = batch.new.clone().requires_grad_()
    loss = loss_module.PolicyLoss()(log_probs, batch.old, one.advantages, action_mask=batch.mask)[0]
    loss.backward()
    return loss.detach(), log_probs.grad, one.advantages


def test_stable_reinforce_is_the_same(batch: SimpleNamespace) -> None:
    (loss, gradient, z), (their_loss, their_gradient, their_z) = ours(batch, STABLE), theirs(batch, STABLE)
    assert (z[1] == 0).all() and z[2].abs().max() > 0, "the filter acted"
    torch.testing.assert_close(their_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(their_gradient, gradient, rtol=0, atol=1e-5)
    torch.testing.assert_close(their_z[batch.mask], z[batch.mask], rtol=1e-5, atol=1e-5)


def test_with_our_parts_off_openrlhf_is_unchanged(batch: SimpleNamespace) -> None:
    for one, other in zip(theirs(batch, PLAIN), theirs(batch, None), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(ours(batch, PLAIN)[:2], theirs(batch, None)[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_our_parts_make_a_difference(batch: SimpleNamespace) -> None:
    assert not torch.allclose(theirs(batch, STABLE)[1], theirs(batch, None)[1], atol=1e-5)


def test_install_patches_the_real_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream(None)
    monkeypatch.setenv(hook.SETTINGS_VARIABLE, STABLE.model_dump_json())
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    importlib.import_module("openrlhf.trainer.ray.ppo_actor")
    hook.install()
    for name, owner, method in (
        ("openrlhf.models.loss", "PolicyLoss", "forward"),
        (
            "openrlhf.trainer.ppo_utils.experience_maker",
            "RemoteExperienceMaker",
            "compute_advantages_and_returns",
        ),
        ("openrlhf.trainer.ray.ppo_actor", "ActorPPOTrainer", "training_step"),
    ):
        assert hasattr(getattr(getattr(sys.modules[name], owner), method), hook.PATCHED)
