from r1reward.files import append_jsonl
from r1reward.settings import SFTSettings
from r1reward.train.control import continued_settings, run_seconds


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
