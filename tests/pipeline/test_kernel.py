from pathlib import Path

from r1reward.pipeline.kernel import LocalKernelManager


def test_kernels_that_start_together_share_no_socket(tmp_path, monkeypatch):
    """Names are chosen before there is a socket; in one folder, two kernels would choose the same."""
    monkeypatch.chdir(tmp_path)
    managers = [LocalKernelManager() for _ in range(2)]
    sockets: list[Path] = []
    for manager in managers:
        manager.write_connection_file()
        sockets += [Path(f"{manager.ip}-{port}") for port in manager.ports]
    assert len(set(sockets)) == 10
    assert all(socket.parent.is_dir() and not socket.is_relative_to(tmp_path) for socket in sockets)
    for manager in managers:
        manager.cleanup_connection_file()


def test_kernels_of_a_deep_temporary_folder_listen_at_ports(tmp_path, monkeypatch):
    """A socket whose path is above 107 characters, or 103 on macOS, cannot be bound."""
    short, deep = Path("/tmp"), tmp_path / ("deep" * 25)
    deep.mkdir()
    found = []
    for folder in (short, deep):
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        found.append(LocalKernelManager())
    assert [manager.transport for manager in found] == ["ipc", "tcp"]
    assert len(f"{found[0].ip}-5") <= 103 and found[1].ip == "127.0.0.1"
