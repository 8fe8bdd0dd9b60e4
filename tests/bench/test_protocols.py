"""A judge that always says 1: nothing under the release, half in both orders."""

import pytest

from r1reward.bench.protocols import score_always_one
from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.types import PreferencePair


def pairs(preferred: list[int]) -> list[PreferencePair]:
    return [
        PreferencePair(f"p-{i}", "p", "q", ("a", "b"), side, category="g", meta={"question": str(i)})  # type: ignore[arg-type]
        for i, side in enumerate(preferred)
    ]


def test_each_protocol_by_hand() -> None:
    rows = score_always_one(
        {VL: pairs([1, 2, 2, 2]), MULTIMODAL: pairs([1, 1, 1, 2]), MM_RLHF: pairs([1, 1])}
    )
    found = {(row["benchmark"], str(row["protocol"]).split(",")[0]): row["accuracy"] for row in rows}
    assert [found[name, "official script"] for name in (VL, MULTIMODAL, MM_RLHF)] == [0.25, 0.75, 1.0]
    assert [found[name, "released script"] for name in (VL, MULTIMODAL, MM_RLHF)] == [1.0, 1.0, 1.0]
    assert [found[name, "here"] for name in (VL, MULTIMODAL, MM_RLHF)] == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="no protocol of other"):
        score_always_one({"other": pairs([1])})
