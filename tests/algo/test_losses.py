import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from r1reward import algo
from r1reward.algo import LossOutput, policy_loss, reduce_loss
from r1reward.algo.losses import LOSSES
from r1reward.settings import Algorithm

NAMES: tuple[Algorithm, ...] = get_args(Algorithm)
CLIPPED: tuple[Algorithm, ...] = ("ppo", "reinforce_pp", "grpo", "stable_reinforce")
HOW = ("token", "response", "sequence")

PAPER_LOG_PROBS = torch.tensor([[-0.1, -0.1, -0.1, -0.1]])
PAPER_OLD_LOG_PROBS = torch.tensor([[-10.0, -0.2, -0.2, -5.0]])
PAPER_ADVANTAGES = torch.tensor([[-1.0, -1.0, 0.5, -0.5]])


def paper_example(name: Algorithm, **settings: Any) -> LossOutput:
    return policy_loss(
        name,
        PAPER_LOG_PROBS,
        old_log_probs=PAPER_OLD_LOG_PROBS,
        advantages=PAPER_ADVANTAGES,
        mask=torch.ones(1, 4),
        **settings,
    )


def random_batch(seed: int, *, shape: tuple[int, int] = (4, 6), spread: float = 0.5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    old_log_probs = -draw().abs() - 0.1
    mask = torch.rand(shape, generator=generator) < 0.7
    mask[0, 0] = True
    return {
        "log_probs": old_log_probs + spread * draw(),
        "old_log_probs": old_log_probs,
        "advantages": draw(),
        "mask": mask,
        "ref_log_probs": old_log_probs + 0.1 * draw(),
    }


def loss_of(name: Algorithm, batch: dict[str, Tensor], **settings: Any) -> LossOutput:
    rest = {key: value for key, value in batch.items() if key != "log_probs"}
    return policy_loss(name, batch["log_probs"], **rest, **settings)


def loss_and_gradient(
    name: Algorithm, batch: dict[str, Tensor], **settings: Any
) -> tuple[LossOutput, Tensor]:
    log_probs = batch["log_probs"].clone().requires_grad_()
    output = loss_of(name, batch | {"log_probs": log_probs}, **settings)
    (gradient,) = torch.autograd.grad(output.loss, log_probs)
    return output, gradient


def test_exported_names() -> None:
    assert set(algo.__all__) == {
        "policy_ratio",
        "standardize_advantages",
        "group_advantages",
        "filter_advantages",
        "final_reward",
        "policy_loss",
        "LossOutput",
        "reduce_loss",
    }
    assert set(LOSSES) == set(NAMES)


@pytest.mark.parametrize("name", ["ppo", "reinforce_pp", "grpo"])
def test_paper_example_without_pre_clip(name: Algorithm) -> None:
    """Paper §2.1: exp(9.9), exp(0.1), -exp(0.1) / 2 and exp(4.9) / 2, to the digits it prints."""
    output = paper_example(name)
    assert output.per_token[0].tolist() == pytest.approx([19930.4, 1.1, -0.55, 67.1], rel=5e-3)
    assert float(output.per_token[0, 0]) == pytest.approx(math.exp(9.9), rel=1e-5)
    assert output.loss.item() == pytest.approx((19930.37 + 1.10517 - 0.552585 + 67.14489) / 4, rel=1e-5)


def test_paper_example_with_pre_clip() -> None:
    output = paper_example("stable_reinforce")
    assert output.per_token[0].tolist() == pytest.approx([1000.0, 1.10517, -0.552585, 67.14489], rel=1e-5)
    assert output.metrics["policy_loss_max"] == pytest.approx(1000)
    assert output.metrics["pre_clip_high_negative"] == 0.25


def test_pre_clip_can_be_set_for_each_name() -> None:
    assert float(paper_example("ppo", pre_clip=1e3).per_token[0, 0]) == pytest.approx(1000)
    assert float(paper_example("stable_reinforce", pre_clip=10.0).per_token[0, 0]) == pytest.approx(10)
    off = paper_example("stable_reinforce", pre_clip=None)
    assert float(off.per_token[0, 0]) == pytest.approx(math.exp(9.9), rel=1e-5)


def test_reinforce_by_hand() -> None:
    """-A log π over three counted tokens: 2 * 0.5, -1 * 0.25, 4 * 1.0."""
    log_probs = torch.tensor([[-0.5, -0.25], [-1.0, -9.0]], requires_grad=True)
    output = policy_loss(
        "reinforce",
        log_probs,
        old_log_probs=log_probs.detach(),
        advantages=torch.tensor([[2.0, -1.0], [4.0, 7.0]]),
        mask=torch.tensor([[True, True], [True, False]]),
    )
    torch.testing.assert_close(output.per_token.detach(), torch.tensor([[1.0, -0.25], [4.0, 0.0]]))
    assert output.loss.item() == pytest.approx(4.75 / 3)
    output.loss.backward()
    torch.testing.assert_close(log_probs.grad, torch.tensor([[-2 / 3, 1 / 3], [-4 / 3, 0.0]]))


def test_clipped_surrogate_by_hand() -> None:
    """Ratios 2 and 1/2 with both signs: clipping binds only where it lowers the objective."""
    two = math.log(2)
    log_probs = torch.tensor([[two, two, -two, -two]], requires_grad=True)
    output = policy_loss(
        "ppo",
        log_probs,
        old_log_probs=torch.zeros(1, 4),
        advantages=torch.tensor([[1.0, -1.0, 1.0, -1.0]]),
        mask=torch.ones(1, 4),
    )
    torch.testing.assert_close(output.per_token.detach(), torch.tensor([[-1.2, 2.0, -0.5, 0.8]]))
    output.loss.backward()
    torch.testing.assert_close(log_probs.grad, torch.tensor([[0.0, 2.0, -0.5, 0.0]]) / 4)
    assert output.metrics["clip_share"] == 0.5
    assert output.metrics["high_negative_share"] == 0.25


def test_grpo_adds_k3_to_the_loss() -> None:
    """π / π_ref = 1/2, so k3 = 2 - 1 - log 2, and its gradient 1 - 2; the old policy plays no part."""
    log_probs = torch.tensor([[-math.log(2)]], dtype=torch.float64, requires_grad=True)
    output = policy_loss(
        "grpo",
        log_probs,
        old_log_probs=log_probs.detach() - 0.1,
        advantages=torch.zeros(1, 1, dtype=torch.float64),
        mask=torch.ones(1, 1),
        ref_log_probs=torch.zeros(1, 1, dtype=torch.float64),
        kl_coef=0.1,
    )
    assert output.loss.item() == pytest.approx(0.1 * (1 - math.log(2)))
    assert output.metrics["reference_kl"] == pytest.approx(1 - math.log(2))
    output.loss.backward()
    assert log_probs.grad is not None and float(log_probs.grad) == pytest.approx(-0.1)


@pytest.mark.parametrize("name", ["reinforce", "ppo", "reinforce_pp", "stable_reinforce"])
def test_kl_coefficient_is_left_to_the_reward_by_all_but_grpo(name: Algorithm) -> None:
    batch = random_batch(0)
    assert torch.equal(loss_of(name, batch, kl_coef=0.5).per_token, loss_of(name, batch).per_token)
    assert not torch.equal(loss_of("grpo", batch, kl_coef=0.5).loss, loss_of("grpo", batch).loss)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_gradients_are_right_in_float64(name: Algorithm, seed: int) -> None:
    batch = random_batch(seed, shape=(2, 3))
    log_probs = batch["log_probs"]
    log_ratio = log_probs - batch["old_log_probs"]
    # The clipped surrogate has kinks at 1 ± ε, where no difference quotient tells its gradient.
    kink = torch.minimum((log_ratio - math.log(1.2)).abs(), (log_ratio - math.log(0.8)).abs()) < 1e-3
    batch["log_probs"] = torch.where(kink, log_probs + 0.01, log_probs).requires_grad_()

    def loss(log_probs: Tensor) -> Tensor:
        return loss_of(name, batch | {"log_probs": log_probs}, kl_coef=0.1).loss

    assert torch.autograd.gradcheck(loss, batch["log_probs"])


@given(st.lists(st.tuples(st.sampled_from([-1e4, 1e4, 0.0, 7.0, -7.0]), st.floats(-20, 20)), min_size=1))
def test_stable_reinforce_is_finite_at_extreme_log_ratios(tokens: list[tuple[float, float]]) -> None:
    log_ratios = torch.tensor([[log_ratio for log_ratio, _ in tokens]])
    batch = {
        "log_probs": log_ratios.clamp(max=0),
        "old_log_probs": -log_ratios.clamp(min=0),
        "advantages": torch.tensor([[advantage for _, advantage in tokens]]),
        "mask": torch.ones_like(log_ratios),
    }
    output, gradient = loss_and_gradient("stable_reinforce", batch)
    assert output.loss.isfinite() and output.per_token.isfinite().all() and gradient.isfinite().all()
    assert all(math.isfinite(value) for value in output.metrics.values())
    assert (output.per_token.abs() <= 1001 * batch["advantages"].abs()).all()
    assert gradient[log_ratios.abs() > math.log(1e3)].count_nonzero() == 0


def test_ppo_overflows_where_stable_reinforce_does_not() -> None:
    batch = {
        "log_probs": torch.tensor([[-1.0]]),
        "old_log_probs": torch.tensor([[-1e4]]),
        "advantages": torch.tensor([[-1.0]]),
        "mask": torch.ones(1, 1),
    }
    assert loss_of("ppo", batch).loss == math.inf
    assert loss_of("stable_reinforce", batch).loss.item() == pytest.approx(1000)


@given(st.integers(0, 2**32))
def test_stable_reinforce_equals_ppo_inside_the_bounds(seed: int) -> None:
    batch = random_batch(seed)
    stable, stable_gradient = loss_and_gradient("stable_reinforce", batch)
    plain, plain_gradient = loss_and_gradient("ppo", batch)
    torch.testing.assert_close(stable.per_token, plain.per_token)
    torch.testing.assert_close(stable_gradient, plain_gradient)


@pytest.mark.parametrize("name", CLIPPED)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_on_policy_gradient_is_that_of_reinforce(name: Algorithm, seed: int) -> None:
    batch = random_batch(seed, spread=0.0)
    _, gradient = loss_and_gradient(name, batch)
    _, expected = loss_and_gradient("reinforce", batch)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, -1e30])
def test_masked_tokens_never_count(name: Algorithm, garbage: float) -> None:
    batch = random_batch(1)
    spoiled = {key: torch.where(batch["mask"], value, garbage) for key, value in batch.items()}
    spoiled["mask"] = batch["mask"]
    output, gradient = loss_and_gradient(name, spoiled, kl_coef=0.1)
    expected, expected_gradient = loss_and_gradient(name, batch, kl_coef=0.1)
    assert torch.equal(output.per_token, expected.per_token) and torch.equal(output.loss, expected.loss)
    assert torch.equal(gradient, expected_gradient)
    assert gradient[~batch["mask"]].count_nonzero() == 0
    assert output.metrics == expected.metrics


@pytest.mark.parametrize("name", NAMES)
def test_suppressed_tokens_behind_a_softmax_leave_the_gradient_finite(name: Algorithm) -> None:
    """A masked token whose logit is -inf must not poison the weights through the log-softmax."""
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    suppressed = logits.masked_fill(torch.tensor([False, False, False, False, True]), -math.inf)
    tokens = torch.tensor([[0, 1, 4], [2, 4, 4]])
    log_probs = suppressed.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    output = policy_loss(
        name,
        log_probs,
        old_log_probs=log_probs,
        advantages=torch.ones(2, 3),
        mask=tokens != 4,
        ref_log_probs=log_probs,
        kl_coef=0.1,
    )
    output.loss.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad.count_nonzero() > 0


def test_only_the_policy_gets_a_gradient() -> None:
    batch = {key: value.clone() for key, value in random_batch(2).items()}
    for key in ("log_probs", "old_log_probs", "advantages", "ref_log_probs"):
        batch[key].requires_grad_()
    loss_of("grpo", batch, kl_coef=0.1).loss.backward()
    assert batch["log_probs"].grad is not None
    assert all(batch[key].grad is None for key in ("old_log_probs", "advantages", "ref_log_probs"))


@pytest.mark.parametrize("name", CLIPPED)
@pytest.mark.parametrize(("high", "bound"), [(None, 1.2), (0.28, 1.28), (0.1, 1.1)])
def test_the_upper_bound_of_the_ratio_may_have_a_width_of_its_own(
    name: Algorithm, high: float | None, bound: float
) -> None:
    """Ratios 1.5 and 0.5 with advantages that let the clipping bind: -min(r A, clip(r) A)."""
    log_probs = torch.tensor([[1.5, 0.5]], dtype=torch.float64).log()
    output = policy_loss(
        name,
        log_probs,
        old_log_probs=torch.zeros_like(log_probs),
        advantages=torch.tensor([[1.0, -1.0]], dtype=torch.float64),
        mask=torch.ones_like(log_probs),
        clip_eps=0.2,
        clip_eps_high=high,
    )
    assert output.per_token[0].tolist() == pytest.approx([-bound, 0.8])


def test_metrics_by_hand() -> None:
    """Pre-CLIP hits at ±8, by sign of the advantage; the masked hit and the one without advantage are not."""
    log_ratio = torch.tensor([[8.0, 8.0, 8.0, -8.0, -8.0, -8.0, -8.0, 8.0, 8.0, 0.0]], dtype=torch.float64)
    advantages = torch.tensor([[1.0, -1.0, -2.0, 1.0, -1.0, -1.0, -1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 0, 1]])
    for name in ("stable_reinforce", "reinforce_pp"):
        metrics = policy_loss(
            name, log_ratio, old_log_probs=torch.zeros_like(log_ratio), advantages=advantages, mask=mask
        ).metrics
        assert metrics["num_tokens"] == 9
        assert metrics["pre_clip_high_positive"] == 1 / 9
        assert metrics["pre_clip_high_negative"] == 2 / 9
        assert metrics["pre_clip_low_positive"] == 1 / 9
        assert metrics["pre_clip_low_negative"] == 3 / 9
        # Clipping binds for the ratio above with a positive and below with a negative advantage.
        assert metrics["clip_share"] == 4 / 9
        assert metrics["high_negative_share"] == 2 / 9
        bound = math.log(1e3) if name == "stable_reinforce" else 8.0
        k3 = (4 * (math.exp(bound) - 1 - bound) + 4 * (math.exp(-bound) - 1 + bound)) / 9
        assert metrics["approx_kl"] == pytest.approx(k3)
        assert metrics["policy_loss_max"] == pytest.approx(2 * math.exp(bound))


@given(
    seed=st.integers(0, 2**32), how=st.sampled_from(HOW), cut=st.integers(1, 3), name=st.sampled_from(NAMES)
)
def test_sharding_a_batch_changes_neither_loss_nor_gradient(
    seed: int, how: Any, cut: int, name: Algorithm
) -> None:
    batch = random_batch(seed)
    whole = batch["log_probs"].clone().requires_grad_()
    output = loss_of(name, batch | {"log_probs": whole}, kl_coef=0.1)
    expected = reduce_loss(output.per_token, batch["mask"], how=how)
    expected.backward()

    mask = batch["mask"]
    denominator = mask.sum() if how == "token" else mask.any(dim=1).sum()
    split = batch["log_probs"].clone().requires_grad_()
    total = 0.0
    for rows in (slice(None, cut), slice(cut, None)):
        shard = {key: value[rows] for key, value in (batch | {"log_probs": split}).items()}
        part = loss_of(name, shard, kl_coef=0.1).per_token
        loss = reduce_loss(part, shard["mask"], how=how, denominator=denominator)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(split.grad, whole.grad)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", HOW)
def test_padding_changes_nothing(name: Algorithm, how: Any) -> None:
    batch = random_batch(3)
    padded = {key: torch.nn.functional.pad(value, (2, 5, 0, 2)) for key, value in batch.items()}
    plain, wide = loss_of(name, batch).per_token, loss_of(name, padded).per_token
    torch.testing.assert_close(
        reduce_loss(wide, padded["mask"], how=how), reduce_loss(plain, batch["mask"], how=how)
    )


def test_reductions_by_hand() -> None:
    per_token = torch.tensor([[1.0, 2.0, 99.0], [6.0, 99.0, 99.0], [math.nan, 99.0, 99.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert float(reduce_loss(per_token, mask)) == 3.0
    assert float(reduce_loss(per_token, mask, how="response")) == (1.5 + 6) / 2
    assert float(reduce_loss(per_token, mask, how="sequence")) == (3 + 6) / 2
    assert float(reduce_loss(per_token, mask, denominator=18)) == 0.5
    assert float(reduce_loss(per_token, torch.zeros(3, 3))) == 0.0


def test_an_entirely_masked_batch_gives_zero_loss_and_gradient() -> None:
    batch = random_batch(4) | {"mask": torch.zeros(4, 6, dtype=torch.bool)}
    output, gradient = loss_and_gradient("stable_reinforce", batch)
    assert output.loss == 0 and gradient.count_nonzero() == 0
    assert set(output.metrics.values()) == {0.0}


def test_wrong_calls_are_refused() -> None:
    batch = random_batch(5)
    name: Any = "trpo"
    with pytest.raises(ValueError, match="stable_reinforce"):
        loss_of(name, batch)
    with pytest.raises(ValueError, match="shape"):
        loss_of("ppo", batch | {"advantages": batch["advantages"][:, :1]})
    without_reference = {key: value for key, value in batch.items() if key != "ref_log_probs"}
    with pytest.raises(ValueError, match="ref_log_probs"):
        loss_of("grpo", without_reference, kl_coef=0.1)
    with pytest.raises(ValueError, match="larger than 1"):
        loss_of("ppo", batch, pre_clip=0.5)
    how: Any = "mean"
    with pytest.raises(ValueError, match="how"):
        reduce_loss(batch["advantages"], batch["mask"], how=how)


def test_a_ratio_of_ones_own_is_of_new_and_old_log_probs() -> None:
    new, old = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -1.0]])
    seen: list[Tensor] = []

    def ratio(*both: Tensor) -> Tensor:
        seen.extend(both)
        return (both[0] - both[1]).exp()

    shared = {
        "old_log_probs": old,
        "advantages": torch.ones(1, 2),
        "mask": torch.ones(1, 2, dtype=torch.bool),
    }
    losses = [policy_loss("reinforce_pp", new, **shared, ratio=own).loss for own in (ratio, None)]
    assert torch.equal(seen[0].flatten(), new.flatten()) and torch.equal(seen[1].flatten(), old.flatten())
    assert losses[0] == losses[1]
