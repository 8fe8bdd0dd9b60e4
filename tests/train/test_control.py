from types import SimpleNamespace

from r1reward.files import append_jsonl, read_jsonl
from r1reward.settings import SFTSettings
from r1reward.train.control import continued_settings, run_seconds
from r1reward.train.trainer import Recorder


def test_the_control_gets_the_time_of_the_rl_run(tmp_path):
    append_jsonl(
        tmp_path / "rl" / "metrics.jsonl", [{"step": 1, "cpu_seconds": 4.0}, {"step": 2, "cpu_seconds": 6.0}]
    )
    append_jsonl(
        tmp_path / "sft" / "metrics.jsonl", [{"step": 1, "cpu_seconds": 1.0}, {"step": 8, "cpu_seconds": 4.0}]
    )
    assert run_seconds(tmp_path / "rl") == 10.0
    settings = SFTSettings(batch_size=16, micro_batch_size=16, max_examples=50)
    control = continued_settings(
        settings, rl_record=tmp_path / "rl", sft_record=tmp_path / "sft", num_examples=160
    )
    # Ten seconds at two updates a second are 20 updates of 16, which is twice around 160 examples.
    assert control.epochs == 2.0
    assert control.max_examples is None
    assert control.learning_rate == settings.learning_rate


def test_the_pace_of_a_cold_start_counts_the_time_before_a_kill(tmp_path):
    """Its updates count from the start of the run, and so do the seconds that the control is matched by."""
    file, shown = tmp_path / "metrics.jsonl", []
    append_jsonl(file, {"step": 8, "loss": 1.0, "seconds": 500.0, "cpu_seconds": 400.0})
    recorder = Recorder(file, SimpleNamespace(show=shown.append))
    recorder.on_train_begin(None, None, None)
    recorder.on_log(None, SimpleNamespace(global_step=9), None, logs={"loss": 0.5, "epoch": 2.0})
    row = read_jsonl(file)[-1]
    assert (row["step"], row["loss"], shown) == (9, 0.5, [row])
    assert row["seconds"] >= 500.0 and row["cpu_seconds"] >= 400.0
