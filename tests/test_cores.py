"""What a process may use of a machine, told by made-up control groups of both versions."""

import os

import pytest

from robaudit import __main__ as entry
from robaudit import cores


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def machine(tmp_path):
    """A place for control groups, and the quota that is read of it for a process in `lines`."""

    def quota(*lines):
        (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        return cores.quota(tmp_path / "cgroup", tmp_path / "mounted")

    return tmp_path / "mounted", quota


def test_the_second_version_and_the_least_of_all_parents(machine):
    mounted, quota = machine
    write(mounted / "a", cpu__max="150000 100000\n")
    write(mounted / "a" / "b", cpu__max="max 100000\n")
    assert quota("0::/a/b") == 1.5
    assert quota("0::/c") is None


def test_the_first_version_and_a_path_that_only_the_host_has(machine):
    mounted, quota = machine
    write(mounted / "cpu,cpuacct", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert quota("4:memory:/x", "3:cpu,cpuacct:/docker/123") == 2.0
    write(mounted / "cpu,cpuacct" / "docker" / "123", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert quota("3:cpu,cpuacct:/docker/123") == 2.0
    assert quota("4:memory:/x") is None


@pytest.mark.parametrize("text", ["", "max", "0 100000", "x y", "1 2 3", "100000 0"])
def test_what_is_no_quota_is_none(machine, text):
    mounted, quota = machine
    write(mounted, cpu__max=text)
    assert quota("0::/") is None


def test_memory_that_a_container_leaves(machine, tmp_path):
    mounted, quota = machine

    def room(line):
        assert quota(line) is None
        return cores.group_memory(tmp_path / "cgroup", mounted)

    write(mounted / "a", memory__max="1000\n", memory__current="700\n", memory__stat="anon 100\nfile 400\n")
    write(mounted / "a" / "b", memory__max="max\n", memory__current="10\n")
    assert room("0::/a/b") == 700
    assert room("0::/c") is None
    write(mounted / "memory", memory__limit_in_bytes="500", memory__usage_in_bytes="900")
    assert room("4:memory:/docker/1") == 0


def test_affinity_and_quota_together(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for quota, expected in ((None, 4), (64.0, 4), (2.5, 2), (0.3, 1)):
        monkeypatch.setattr(cores, "quota", lambda *_, quota=quota: quota)
        assert cores.usable_cores() == expected


def test_a_machine_without_either(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores, "_PROCESS", tmp_path / "none")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


def test_the_command_line_tells_torch_before_it_is_imported(monkeypatch):
    monkeypatch.setattr(entry, "usable_cores", lambda: 3)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    entry._be_a_good_neighbour()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "passive")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    entry._be_a_good_neighbour()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("1", "active")
