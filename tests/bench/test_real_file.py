"""The real text file with stand-in pictures: how it is asked about, and that its record says so."""

from dataclasses import replace
from pathlib import Path

import pytest
from known_judge import KnownJudge

from r1reward.bench import evaluate as module
from r1reward.bench.vl_rewardbench import STAND_IN, load_benchmark
from r1reward.config import load_profile
from r1reward.mini.world import write_world
from r1reward.prompts import PromptName, judge_prompt
from r1reward.settings import Profile, WorldSettings


@pytest.mark.parametrize("prompt", ["mini", "paper"])
def test_the_file_is_asked_about_by_the_prompt_that_is_named(
    prompt: PromptName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the profile's own; prompts of thousands of tokens are let through."""
    write_world(tmp_path / "world", WorldSettings(pairs_per_source=1, benchmark_pairs=6), 0)
    pairs = [
        replace(pair, meta={**pair.meta, "pictures": STAND_IN})
        for pair in load_benchmark(tmp_path / "world" / "vl_rewardbench")
    ]
    judge, loaded = KnownJudge(pairs, prompt=prompt), list[tuple[object, Profile]]()

    def load(checkpoint: object, profile: Profile) -> KnownJudge:
        loaded.append((checkpoint, profile))
        return judge

    monkeypatch.setattr(module, "load_benchmark", lambda *_, **__: pairs)
    monkeypatch.setattr(module, "load_engine", load)
    profile = load_profile("mini", overrides={"bench": {"real_rows": 4}})
    found = module.run_real_file(
        "judge", (tmp_path / "x.jsonl", []), profile=profile, prompt=prompt, work=tmp_path / "work"
    )
    assert found["prompt"] == prompt and found["rows"] == 4 and len(judge.asked) == 8
    both = [one for pair in pairs[:4] for one in (pair, pair.swapped())]
    assert [request.text for request, _ in judge.asked] == [judge_prompt(one, name=prompt) for one in both]
    assert found["label"].startswith(STAND_IN)
    ((checkpoint, used),) = loaded
    assert checkpoint == "judge" and used.engine.max_prompt_tokens == 16_384 and used.engine.batch_size == 8
    ((limit, temperature),) = {(one.max_new_tokens, one.temperature) for _, one in judge.asked}
    assert limit == 16 and found["decoding"].startswith(f"sampled, temperature {temperature:g}, seed ")
