"""Cores and memory that a container grants, rather than those that the host has."""

import os
from pathlib import Path

import pytest

from service.engine.config import memory_limit_bytes, usable_cores

AFFINITY = len(os.sched_getaffinity(0))
HOST_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cgroup(tmp_path: Path, own: str, quotas: dict[str, str], name: str = "cpu.max") -> tuple[Path, Path]:
    """A control-group tree with files of this name, and the file that says which group is ours."""
    root = tmp_path / "cgroup"
    for group, content in quotas.items():
        folder = root / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    root.mkdir(exist_ok=True)
    own_cgroup = tmp_path / "own"
    own_cgroup.write_text(f"3:cpuset:/elsewhere\n0::/{own}\n")
    return root, own_cgroup


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [("100000 100000\n", 1), ("150000 100000\n", 1), ("20000 100000\n", 1), ("6400000 100000\n", AFFINITY)],
)
def test_a_quota_counts_in_whole_cores_and_never_below_one(tmp_path: Path, cpu_max: str, cores: int) -> None:
    assert usable_cores(*cgroup(tmp_path, "", {"": cpu_max})) == cores


def test_no_quota_leaves_the_affinity_mask(tmp_path: Path) -> None:
    assert usable_cores(*cgroup(tmp_path, "a/b", {"a/b": "max 100000\n"})) == AFFINITY


def test_a_quota_of_an_outer_group_counts_too(tmp_path: Path) -> None:
    quotas = {"pod/container": "max 100000\n", "pod": "100000 100000\n"}
    assert usable_cores(*cgroup(tmp_path, "pod/container", quotas)) == 1


def test_without_control_groups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "none") == AFFINITY


def test_a_file_that_makes_no_sense_limits_nothing(tmp_path: Path) -> None:
    assert usable_cores(*cgroup(tmp_path, "", {"": "soon\n"})) == AFFINITY


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"pod/container": "max\n", "pod": "1048576\n"}, 1 << 20),
        ({"pod/container": "4096\n", "pod": "1048576\n"}, 4096),
        ({"pod/container": "max\n"}, HOST_BYTES),
        ({"pod/container": f"{HOST_BYTES * 2}\n"}, HOST_BYTES),
        ({}, HOST_BYTES),
    ],
)
def test_the_memory_is_the_smallest_limit_or_the_hosts(tmp_path: Path, limits: dict[str, str], most: int) -> None:
    assert memory_limit_bytes(*cgroup(tmp_path, "pod/container", limits, "memory.max")) == most
