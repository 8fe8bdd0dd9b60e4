"""The hook on modules that look like OpenRLHF's, and on ones that do not; `test_contract` has the real."""

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from r1reward.cluster import hook
from r1reward.settings import RLSettings

STABLE = RLSettings()
PLAIN = RLSettings(algorithm="reinforce_pp")
NARROW = RLSettings(pre_clip=math.e)


def loss_module() -> ModuleType:
    class PolicyLoss:
        def forward(self, log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None,
                    dp_size=1, batch_num_tokens=None, global_batch_size=None):  # fmt: skip
            return (log_probs - old_log_probs).clamp(-20, 20).exp()

    module = ModuleType("openrlhf.models.loss")
    module.PolicyLoss = PolicyLoss
    return module


def advantage_module() -> ModuleType:
    class RemoteExperienceMaker:
        def compute_advantages_and_returns(self, experiences):
            return experiences

    module = ModuleType("openrlhf.trainer.ppo_utils.experience_maker")
    module.RemoteExperienceMaker = RemoteExperienceMaker
    return module


def actor_module(loss: float) -> ModuleType:
    class ActorPPOTrainer:
        actor_loss_fn = SimpleNamespace(pre_clip_shares={"pre_clip_high_positive": torch.tensor(0.5)})

        def training_step(self, experience, kl_ctl, step, loss_batch_info=None):
            return {"metrics": {"policy_loss": torch.tensor(loss)}, "weights": {"policy_loss": "token"}}

    module = ModuleType("openrlhf.trainer.ray.ppo_actor")
    module.ActorPPOTrainer = ActorPPOTrainer
    return module


@pytest.mark.parametrize(("settings", "beyond", "bound"), [(STABLE, 9.0, 1e3), (NARROW, 1.5, math.e)])
def test_pre_clip_bounds_the_ratio_and_counts_what_it_met(
    settings: RLSettings, beyond: float, bound: float
) -> None:
    module, mask = loss_module(), torch.tensor([[True, True, True, False]])
    hook.patch_loss(module, settings)
    function = module.PolicyLoss()
    log_probs = torch.tensor([[0.0, beyond, -beyond, 50.0]], requires_grad=True)
    advantages = torch.tensor([[1.0, 1.0, -1.0, 1.0]])
    ratio = function.forward(log_probs, torch.zeros(1, 4), advantages, action_mask=mask)
    assert ratio[0, :3].tolist() == pytest.approx([1, bound, 1 / bound])
    ratio.sum().backward()
    assert log_probs.grad is not None and log_probs.grad[0].tolist() == [1, 0, 0, 0]
    shares = {name: float(value) for name, value in function.pre_clip_shares.items()}
    assert shares["pre_clip_high_positive"] == pytest.approx(1 / 3)
    assert shares["pre_clip_low_negative"] == pytest.approx(1 / 3)


def test_without_pre_clip_upstream_is_left_alone() -> None:
    module, log_probs = loss_module(), torch.tensor([[0.3, 9.0]])
    expected = module.PolicyLoss().forward(log_probs, torch.zeros(1, 2), torch.ones(1, 2))
    hook.patch_loss(module, PLAIN)
    found = module.PolicyLoss().forward(log_probs, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2))
    assert torch.equal(found, expected)


def test_the_filter_zeroes_what_is_beyond_three_sigma() -> None:
    module = advantage_module()
    hook.patch_advantages(module, STABLE)
    one = SimpleNamespace(
        advantages=torch.tensor([[3.5, -1.0], [-3.5, -4.0]]),
        action_mask=torch.tensor([[1, 1], [1, 0]]),
        info={},
    )
    module.RemoteExperienceMaker().compute_advantages_and_returns([one])
    assert one.advantages.tolist() == [[0, -1], [0, 0]]
    assert one.info["filtered_positive"].tolist() == [0.5, 0]
    assert one.info["filtered_negative"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (PLAIN, [3.5, -1.0]),
        (RLSettings(advantage_limit="off"), [3.5, -1.0]),
        (RLSettings(advantage_limit=0.5), [0.0, 0.0]),
        (RLSettings(algorithm="ppo", advantage_limit=2.0), [0.0, -1.0]),
    ],
)
def test_the_filter_is_that_of_the_settings(settings: RLSettings, kept: list[float]) -> None:
    module = advantage_module()
    hook.patch_advantages(module, settings)
    one = SimpleNamespace(advantages=torch.tensor([[3.5, -1.0]]), action_mask=torch.ones(1, 2), info={})
    module.RemoteExperienceMaker().compute_advantages_and_returns([one])
    assert one.advantages.tolist() == [kept]
    shares = [float(one.info[f"filtered_{sign}"]) for sign in ("positive", "negative")]
    assert shares == [0.5 * (value == 0) for value in kept]


def test_our_metrics_are_logged_and_a_loss_that_is_not_finite_ends_the_run() -> None:
    module = actor_module(0.25)
    hook.patch_training_step(module, STABLE)
    status = module.ActorPPOTrainer().training_step(None, 0.0, 0)
    assert status["weights"]["pre_clip_high_positive"] == "token"
    module = actor_module(float("nan"))
    hook.patch_training_step(module, STABLE)
    with pytest.raises(FloatingPointError, match="collapsed"):
        module.ActorPPOTrainer().training_step(None, 0.0, 0)


def test_patching_twice_is_patching_once() -> None:
    module = loss_module()
    original = module.PolicyLoss.forward
    for _ in range(2):
        hook.patch_loss(module, STABLE)
    assert getattr(module.PolicyLoss.forward, hook.PATCHED) is original


def test_another_upstream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loss_module()
    module.PolicyLoss.forward = lambda self, log_probs, advantages: None
    with pytest.raises(
        hook.UpstreamError, match=r"PolicyLoss\.forward takes self, log_probs, advantages, exp"
    ):
        hook.patch_loss(module, STABLE)
    with pytest.raises(hook.UpstreamError, match=r"has no ActorPPOTrainer\.training_step"):
        hook.patch_training_step(loss_module(), STABLE)
    monkeypatch.setenv(hook.SETTINGS_VARIABLE, STABLE.model_dump_json())
    monkeypatch.setattr(hook, "version", lambda name: "0.12.0")
    with pytest.raises(hook.UpstreamError, match=r"written for openrlhf 0\.11\.2, 0\.12\.0 is installed"):
        hook.install()


def test_a_module_is_patched_when_it_is_imported(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "openrlhf" / "models"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "__init__.py").touch()
    (folder / "loss.py").write_text("class PolicyLoss:\n    def forward(self, wrong): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(hook.SETTINGS_VARIABLE, STABLE.model_dump_json())
    monkeypatch.setattr(hook, "version", lambda name: hook.OPENRLHF)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "openrlhf"]:
        monkeypatch.delitem(sys.modules, name)
    hook.install()
    hook.install()
    with pytest.raises(hook.UpstreamError, match="takes self, wrong"):
        import openrlhf.models.loss  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    assert "openrlhf.models.loss" not in sys.modules
    for name in [name for name in sys.modules if name.split(".")[0] == "openrlhf"]:
        monkeypatch.delitem(sys.modules, name)
