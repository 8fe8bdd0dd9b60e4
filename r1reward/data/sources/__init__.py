"""Loaders of the training sources, each reading the original on-disk schema (paper Table 2)."""

from r1reward.data.sources import mm_rlhf, povid, r1_reward_rl, rlaif_v, vl_feedback, wildvision
from r1reward.data.sources.base import Reader, Source, SourceSpec

_TABLE_2 = (
    *(Source(module.SPEC, module.read) for module in (rlaif_v, vl_feedback, povid, wildvision)),
    *(mm_rlhf.ALL[subset] for subset in mm_rlhf.COUNTS),
)
_OTHERS = (mm_rlhf.ALL["video"], Source(r1_reward_rl.SPEC, r1_reward_rl.read, chosen_first=False))
# The eight subsets of Table 2 in its order, what else `data.sources` can name, and both together.
SOURCES = {source.spec.name: source for source in _TABLE_2}
OTHER_SOURCES = {source.spec.name: source for source in _OTHERS}
ALL_SOURCES = SOURCES | OTHER_SOURCES
# Published as RL data: what was easy for an annotator is gone already, and there are no answers of one.
RELEASED_FOR_RL = (r1_reward_rl.SPEC.name,)

__all__ = ["ALL_SOURCES", "OTHER_SOURCES", "RELEASED_FOR_RL", "SOURCES", "Reader", "Source", "SourceSpec"]
