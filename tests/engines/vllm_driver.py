"""Compares vLLM with our own engine on greedy answers of the shipped model: vllm_driver.py PAIRS."""

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import json
import sys
from pathlib import Path

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.config import load_profile
from r1reward.engines import Sampling, load_engine
from r1reward.judge.generative import judge_request

COUNT, TOKENS = 500, 48


def main() -> None:
    pairs = load_benchmark(Path(sys.argv[1]))[:COUNT]
    requests = [judge_request(pair, prompt="mini") for pair in pairs]
    answers = []
    for name in ("vllm", "transformers"):
        overrides = {"engine": {"name": name, "max_new_tokens": TOKENS, "vllm": {"eager": True}}}
        engine = load_engine("mini", load_profile("mini", overrides=overrides))
        answers.append([one for (one,) in engine.generate(requests, Sampling(TOKENS, temperature=0))])
    same = [both for both in zip(*answers, strict=True) if both[0].token_ids == both[1].token_ids]
    difference = max(
        abs(one - other)
        for theirs, ours in same
        for one, other in zip(theirs.log_probs, ours.log_probs, strict=True)
    )
    texts = len({ours.text for ours in answers[1]})
    print(json.dumps({"pairs": len(pairs), "same": len(same), "difference": difference, "texts": texts}))


if __name__ == "__main__":
    main()
