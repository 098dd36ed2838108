"""Keys: what a file may hold, how a key is found in it, and the file while it changes."""

import hashlib
import hmac
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from service.access.key_file import KeyFile, make_key
from service.access.keys import MOST_BYTES, MOST_KEYS, Entry, Key, Keys, KeysRefused, digest_of, new_key, read_keys

ANY = Entry(sha256="0" * 64)


def table(name: str, key: str, *lines: str) -> str:
    """An entry of a file."""
    return "\n".join((f"[keys.{name}]", f'sha256 = "{digest_of(key)}"', *lines, ""))


def test_a_key_has_256_random_bits_and_is_found_by_its_hash() -> None:
    keys = [new_key() for _ in range(3)]
    assert len(set(keys)) == 3
    assert {len(key) for key in keys} == {len("ganymede_") + 43}
    known = Keys(Key(f"k{number}", hashlib.sha256(key.encode()).digest()) for number, key in enumerate(keys))
    found = [known.find(key) for key in keys]
    assert [key.name for key in found if key is not None] == ["k0", "k1", "k2"]
    assert known.find(new_key()) is None
    assert known.find("ü" * 40) is None


def test_a_right_and_a_wrong_key_take_the_same_steps() -> None:
    keys = [new_key() for _ in range(5)]
    known = Keys(Key(f"k{number}", hashlib.sha256(key.encode()).digest()) for number, key in enumerate(keys))

    def steps(presented: str) -> list[object]:
        called: list[object] = []

        def profile(_frame: FrameType, event: str, function: object) -> None:
            if event == "c_call":
                called.append(function)

        sys.setprofile(profile)
        try:
            known.find(presented)
        finally:
            sys.setprofile(None)
        return called[:-1]  # the last turns the profile off

    first, last, unknown = steps(keys[0]), steps(keys[-1]), steps(new_key())
    assert first.count(hmac.compare_digest) == 5
    assert [str(each).split(" at ")[0] for each in first] == [str(each).split(" at ")[0] for each in last]
    assert len(first) == len(unknown)


def test_a_file_says_what_each_key_is_granted() -> None:
    content = table("alice", "a" * 40, "samples_per_second = 50") + table(
        "root", "b" * 40, 'role = "admin"', "weight = 2.5", "samples_per_second = 0.5", "burst = 3"
    )
    keys = read_keys(content.encode()).by_name
    assert (keys["alice"].role, keys["alice"].burst, keys["alice"].weight) == ("inference", 500, 1.0)
    assert (keys["root"].role, keys["root"].burst, keys["root"].weight) == ("admin", 3, 2.5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists each key as a table"),
        ("[keys]", "lists each key as a table"),
        ("[other]\nx = 1\n", "lists each key as a table"),
        ("keys = 3", "lists each key as a table"),
        ("[keys.a]\nsha256 = ", "not TOML"),
        ("[keys.a]\n", "sha256: Field required"),
        ('[keys.a]\nsha256 = "ganymede_secret"', "sha256: String should match pattern"),
        ("[keys.a]\nsha256 = 3", "sha256"),
        (table("a", "x", 'role = "root"'), "role: Input should be 'inference' or 'admin'"),
        (table("a", "x", "colour = 1"), "colour: Extra inputs"),
        (table("a", "x", "samples_per_second = 0"), "samples_per_second: Input should be greater"),
        (table("a", "x", "samples_per_second = nan"), "samples_per_second"),
        (table("a", "x", "burst = 10"), "burst: limits nothing without samples_per_second"),
        (table("a", "x", "weight = -1"), "weight"),
        (table('"a b"', "x"), "letters, digits"),
        (table('"' + "a" * 33 + '"', "x"), "letters, digits"),
        (table("other", "x"), "metrics call"),
        (table("a", "x") + table("b", "x"), "a and b are one key"),
        (table("a", "x") + table("a", "y"), "not TOML"),
        ("".join(table(f"k{number}", str(number)) for number in range(MOST_KEYS + 1)), f"more than {MOST_KEYS}"),
        ("#" * (MOST_BYTES + 1), "more than"),
        ("a = " + "[" * 100_000, "it is n"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_in_words_that_hold_no_key(content: str, said: str) -> None:
    with pytest.raises(KeysRefused) as refused:
        read_keys(content.encode())
    assert said in str(refused.value)
    assert "ganymede_secret" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(KeysRefused, match="UTF-8"):
        read_keys(b"\xff\xfe")


def test_a_file_is_read_again_when_it_changes_and_an_invalid_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first, _ = make_key("first", ANY, path)
    file = KeyFile(path)
    file.look()
    assert file.keys.find(first) is not None
    second, _ = make_key("second", ANY, path)
    file.look()
    assert file.keys.find(second) is not None
    good = path.read_bytes()
    for bad in (b"", b"[keys.a]", good[:-30]):
        path.write_bytes(bad)
        file.look()
        assert len(file.keys) == 2
    path.unlink()
    file.look()
    assert len(file.keys) == 2
    path.write_text(table("second", second))
    file.look()
    assert file.keys.find(first) is None
    assert file.keys.find(second) is not None


def test_two_changes_of_one_size_within_one_tick_of_the_clock_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    file = KeyFile(path)
    for key in ("a" * 40, "b" * 40, "c" * 40):
        path.write_text(table("one", key))
        os.utime(path, ns=(10**18 * 2, 10**18 * 2))
        file.look()
        assert file.keys.find(key) is not None


def test_a_file_that_is_left_alone_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    make_key("first", ANY, path)
    os.utime(path, ns=(10**18, 10**18))
    file = KeyFile(path)
    file.look()
    keys = file.keys
    size = path.stat().st_size
    path.write_bytes(b" " * size)
    os.utime(path, ns=(10**18, 10**18))  # time, size and inode are as before
    file.look()
    assert file.keys is keys
    assert len(keys) == 1


def test_a_key_is_added_once_for_each_name_to_a_file_that_others_may_read_and_not_write(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key, lines = make_key("alice", ANY, path)
    assert key not in path.read_text()
    assert path.read_text() == lines
    assert stat.S_IMODE(path.stat().st_mode) & 0o133 == 0
    with pytest.raises(KeysRefused, match="has a key called alice"):
        make_key("alice", ANY, path)
    path.write_text(lines.rstrip("\n"))
    make_key("bob", ANY, path)
    assert set(read_keys(path.read_bytes()).by_name) == {"alice", "bob"}
    path.write_text("not toml")
    with pytest.raises(KeysRefused, match="not TOML"):
        make_key("carol", ANY, path)
    assert path.read_text() == "not toml"


def test_many_that_add_keys_at_the_same_time_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    with ThreadPoolExecutor(8) as pool:
        keys = [key for key, _ in pool.map(lambda number: make_key(f"k{number}", ANY, path), range(24))]
    known = read_keys(path.read_bytes())
    assert all(known.find(key) is not None for key in keys)
