import torch

from r1reward.algo import filter_advantages
from r1reward.train.metrics import advantage_metrics, judge_metrics, rollout_metrics, weighted_means
from r1reward.types import Completion, JudgeTrajectory, PreferencePair, Verdict

PAIR = PreferencePair("p", "test", "q", ("a", "b"), 1)


def trajectory(
    verdict: Verdict, consistency: float | None, length: int, reason: str = "stop"
) -> JudgeTrajectory:
    completion = Completion("", tuple(range(length)), (0.0,) * length, reason)  # type: ignore[arg-type]
    result = float(verdict.agrees_with(1))
    return JudgeTrajectory(PAIR, completion, result + 0.5, verdict, result, 1.0, consistency)


def test_metrics_of_four_answers() -> None:
    answers = [
        trajectory(Verdict.FIRST, 1.0, 4),
        trajectory(Verdict.FIRST, None, 6),
        trajectory(Verdict.SECOND, 0.0, 8),
        trajectory(Verdict.UNPARSED, 0.0, 2, "length"),
    ]
    assert rollout_metrics(answers) == {"reward": 1.0, "response_length": 5.0, "truncated_share": 0.25}
    assert judge_metrics(answers) == {
        "reward_result": 0.5,
        "reward_format": 1.0,
        "reward_consistency": 0.25,
        "accuracy": 0.5,
        "answer_one_share": 0.5,
        "unparsed_share": 0.25,
        "contradicted_share": 0.0,
        "judge_unknown": 1,
    }


def test_contradictions_are_counted_among_right_answers_that_were_judged() -> None:
    opinions = (1.0, 0.0, 0.0, None)
    answers = [trajectory(Verdict.FIRST, opinion, 1) for opinion in opinions]
    answers += [trajectory(Verdict.SECOND, 0.0, 1)]
    assert judge_metrics(answers)["contradicted_share"] == 1 - 1 / 3
    assert judge_metrics(answers[3:])["contradicted_share"] == 0.0


def test_filtered_shares_by_sign() -> None:
    z = torch.tensor([-5.0, -3.0, 0.0, 2.0, 3.5, 4.0, 1.0, 1.0])
    row = advantage_metrics(z, kept=filter_advantages(z, limit=3.0))
    assert row == {"z_min": -5.0, "z_max": 4.0, "filtered_positive": 0.25, "filtered_negative": 0.125}
    off = advantage_metrics(z, kept=z)
    assert off["filtered_positive"] == off["filtered_negative"] == 0.0


def test_means_are_weighted_by_tokens() -> None:
    parts = [
        {"policy_loss": 1.0, "policy_loss_max": 3.0, "learning_rate": 0.1, "num_tokens": 1.0},
        {"policy_loss": 2.0, "policy_loss_max": 2.0, "learning_rate": 0.2, "num_tokens": 3.0},
    ]
    assert weighted_means(parts) == {
        "policy_loss": 1.75,
        "policy_loss_max": 3.0,
        "learning_rate": 0.2,
        "num_tokens": 4.0,
    }
