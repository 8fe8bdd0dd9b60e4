from r1reward.train.collapse import CollapseWatch


def rows(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"reward": reward, "truncated_share": truncated} for reward, truncated in values]


def test_a_reward_below_the_start_for_five_steps_is_a_collapse():
    watch = CollapseWatch(patience=5)
    seen = [watch.see(row) for row in rows((1.0, 0), *[(0.69, 0)] * 4, (0.71, 0), *[(0.69, 0)] * 5)]
    assert seen[:-1] == [None] * 10
    assert seen[-1] and "0.3 below the start" in seen[-1]


def test_answers_cut_off_for_five_steps_are_a_collapse():
    watch = CollapseWatch(patience=5)
    seen = [watch.see(row) for row in rows(*[(1.0, 0.51)] * 4, (1.0, 0.5), *[(1.0, 0.51)] * 5)]
    assert seen[:-1] == [None] * 9
    assert seen[-1] and "cut off" in seen[-1]


def test_a_resumed_watch_remembers():
    watch = CollapseWatch(rows((1.0, 0), *[(0.5, 0)] * 4), patience=5)
    assert watch.see({"reward": 0.5, "truncated_share": 0.0})


def test_a_watch_without_patience_sees_nothing():
    watch = CollapseWatch(patience=0)
    assert not any(watch.see(row) for row in rows((1.0, 0), *[(0.1, 1.0)] * 20))


def test_a_judge_that_cannot_be_reached_is_no_collapse():
    """Half of eight answers are unknown at a weight of 0.8: at most 0.4 of the reward is missing."""
    outage = [{"reward": 0.6, "truncated_share": 0.0, "judge_unknown": 4}] * 9
    first = {"reward": 1.0, "truncated_share": 0.0, "judge_unknown": 0}
    watch = CollapseWatch([first], patience=5, unknown_reward=0.8 / 8)
    assert [watch.see(row) for row in outage] == [None] * 9
    watch = CollapseWatch([first], patience=5, unknown_reward=0.1 / 8)
    assert [bool(watch.see(row)) for row in outage[:5]] == [False] * 4 + [True]
