"""What TensorBoard shows of a run that was killed and went on."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from r1reward.train.monitor import Monitor


def test_a_resumed_run_forgets_the_steps_after_its_checkpoint_and_no_other(tmp_path: Path) -> None:
    for step, rows in ((0, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}), (2, {3: 30.0})):
        with Monitor("run", total=4, step=step, folder=tmp_path, quiet=True) as monitor:
            for number, reward in rows.items():
                monitor.show({"step": number, "reward": reward})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["reward"]
    shown = {event.step: round(event.value, 3) for event in events.Scalars("reward")}
    assert shown == {1: 0.1, 2: 0.2, 3: 30.0}
