"""What OpenRLHF loads by `--train.agent_func_path`: one answer to one prompt, with its reward.

It differs from OpenRLHF's own executor in two points. Tokens that stand for pictures are never sampled: an
answer with one of them ends a run, because the trained model then looks for a picture that is not there. And
rewards are those of `train.rl`.
"""

from __future__ import annotations

import json
import math
import os
from copy import deepcopy
from typing import Any

from openrlhf.utils.agent import SingleTurnAgentExecutor  # type: ignore[import-not-found]

from r1reward.cluster.rewards import VISION_VARIABLE, AnswerScorer
from r1reward.engines import read_completion

NEVER = -100.0


class AgentExecutor(SingleTurnAgentExecutor):
    """Generates as OpenRLHF does, without vision tokens, and scores the answer."""

    def __init__(self) -> None:
        super().__init__(None)
        self._scorer = AnswerScorer.from_environment()
        self._bias = dict.fromkeys(json.loads(os.environ[VISION_VARIABLE]), NEVER)

    async def execute(
        self,
        prompt: str,
        label: str,
        sampling_params: Any,
        max_length: int,
        hf_tokenizer: Any,
        llm_engine: Any,
        images: Any = None,
    ) -> dict[str, Any]:
        """See `AgentExecutorBase.execute` of OpenRLHF."""
        sampling_params = deepcopy(sampling_params)
        sampling_params.logit_bias = self._bias
        output = await super().execute(
            prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
        )
        start, end = output["action_ranges"][0]
        tokenizer = getattr(hf_tokenizer, "tokenizer", hf_tokenizer)
        ids = output["observation_tokens"][start:end]
        # Nothing here reads probabilities.
        unknown = [math.nan] * len(ids)
        completion = read_completion(tokenizer, ids, unknown, ended=not output["truncated"])
        scored = await self._scorer.score(completion, label)
        reward = scored.pop("reward")
        output.update(reward=reward, scores=scored["reward_result"], extra_logs=scored)
        return output
