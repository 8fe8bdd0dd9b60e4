import json
import math

import pytest

from r1reward.algo.mechanisms import mechanisms_record, token_curve, wrong_answers

LOG_RATIOS = [-8.0, -6.9, -1.0, -0.23, -0.1, 0.0, 0.1, 0.19, 1.0, 6.9, 8.0]


def test_a_token_with_negative_advantage_pulls_with_its_ratio_until_pre_clip() -> None:
    """Gradient -A r = 2 r, and 0 below 1 - ε; at e^8 only Pre-CLIP stops it."""
    expected = [0.0 if x < math.log(0.8) else 2 * math.exp(x) for x in LOG_RATIOS]
    bare = token_curve(LOG_RATIOS, advantage=-2.0, pre_clip=None)
    assert bare.gradients == pytest.approx(expected, rel=1e-12)
    assert bare.gradients[-1] == pytest.approx(2 * math.exp(8), rel=1e-12)
    assert bare.losses == pytest.approx([2 * max(math.exp(x), 0.8) for x in LOG_RATIOS], rel=1e-12)
    clipped = token_curve(LOG_RATIOS, advantage=-2.0, pre_clip=1e3)
    assert clipped.gradients == pytest.approx([*expected[:-1], 0.0], rel=1e-12)
    assert clipped.losses[-1] == pytest.approx(2000, rel=1e-12)


def test_a_token_with_positive_advantage_is_bounded_by_ppo_alone() -> None:
    """Gradient -A r up to 1 + ε and 0 above; Pre-CLIP adds the zero below e^-6.9."""
    expected = [0.0 if x > math.log(1.2) else -math.exp(x) for x in LOG_RATIOS]
    bare = token_curve(LOG_RATIOS, advantage=1.0, pre_clip=None)
    assert bare.gradients == pytest.approx(expected, rel=1e-12)
    assert bare.losses == pytest.approx([-min(math.exp(x), 1.2) for x in LOG_RATIOS], rel=1e-12)
    clipped = token_curve(LOG_RATIOS, advantage=1.0, pre_clip=1e3)
    assert clipped.gradients == pytest.approx([0.0, *expected[1:]], rel=1e-12)
    assert bare.gradients[0] < 0


@pytest.mark.parametrize("clip_eps", [0.1, 0.5])
def test_the_width_of_ppos_clipping_is_the_one_given(clip_eps: float) -> None:
    """Gradient -A r between 1 - ε and 1 + ε, on the side where clipping binds."""
    up = token_curve(LOG_RATIOS, advantage=1.0, pre_clip=None, clip_eps=clip_eps)
    down = token_curve(LOG_RATIOS, advantage=-1.0, pre_clip=None, clip_eps=clip_eps)
    above = [0.0 if math.exp(x) > 1 + clip_eps else -math.exp(x) for x in LOG_RATIOS]
    below = [0.0 if math.exp(x) < 1 - clip_eps else math.exp(x) for x in LOG_RATIOS]
    assert up.gradients == pytest.approx(above, rel=1e-12)
    assert down.gradients == pytest.approx(below, rel=1e-12)


@pytest.mark.parametrize("batch", [10, 256])
def test_wrong_answers_weigh_more_the_fewer_they_are(batch: int) -> None:
    counts = list(range(1, batch))
    found = wrong_answers(counts, batch=batch, limit=None)
    shares = [count / batch for count in counts]
    assert found.advantages == pytest.approx([-math.sqrt((1 - p) / p) for p in shares], rel=1e-6)
    assert found.shares == pytest.approx([1 - p for p in shares], rel=1e-6)


def test_the_filter_silences_wrong_answers_below_a_tenth() -> None:
    """|z| > 3 means (1 - p) / p > 9: 25 of 256 are silent, 26 are heard as without the filter."""
    heard = wrong_answers([26, 128, 256], limit=None)
    filtered = wrong_answers([1, 25, 26, 128, 256], limit=3.0)
    assert filtered.advantages[:2] == [0.0, 0.0] and filtered.shares[:2] == [0.0, 0.0]
    assert filtered.advantages[2:] == heard.advantages
    assert filtered.shares[2:] == heard.shares
    assert filtered.advantages[2] == pytest.approx(-math.sqrt(230 / 26), rel=1e-6)


def test_a_batch_of_wrong_answers_teaches_nothing() -> None:
    found = wrong_answers([256], limit=None)
    assert (found.advantages, found.shares) == ([0.0], [0.0])


@pytest.mark.parametrize("count", [0, 257])
def test_counts_outside_the_batch_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        wrong_answers([count])


def test_the_record_holds_finite_numbers_of_matching_length() -> None:
    record = json.loads(json.dumps(mechanisms_record(), allow_nan=False))
    for curves in record["gradients"].values():
        assert {name: len(curve) for name, curve in curves.items()} == {
            "with": len(record["log_ratios"]),
            "without": len(record["log_ratios"]),
        }
    for name in ("wrong_advantages", "wrong_shares"):
        assert [len(curve) for curve in record[name].values()] == [len(record["wrong_counts"])] * 2
    beyond = record["log_ratios"].index(8.0)
    assert record["gradients"]["negative"]["without"][beyond] == pytest.approx(math.exp(8))
    assert record["gradients"]["negative"]["with"][beyond] == 0.0
