"""Bulk runs draw what POST /generate answers, keep to their plan, find damage, and refuse mistakes in a sentence."""

import io
import json
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.__main__ import main
from service.bulk.formats import member

Tree = dict[str, bytes]

BEGINS = ["--n", "30", "--shard-size", "10", "--label", "1", "--model", "classes"]


@pytest.fixture(scope="module", autouse=True)
def here(models_dir: Path) -> Iterator[None]:
    """Settings as those of the service that the answers come from."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MODELS_DIR", models_dir), ("DEFAULT_MODEL", "toy"), ("MODEL_THREADS", 1)):
            patch.setenv(f"GANYMEDE_{name}", str(value))
        yield


def tree(folder: Path) -> Tree:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("shard-")}


def draw(out: Path, request: dict[str, Any], *words: str) -> list[bytes]:
    """Draw five samples from seed 7 on, three a shard; returns the shards."""
    parameters = ["--parameters", json.dumps(request)]
    assert main(["bulk", str(out), "--n", "5", "--seed", "7", "--shard-size", "3", *parameters, *words]) == 0
    return [content for _, content in sorted(tree(out).items())]


@pytest.mark.parametrize(
    ("request_", "dtype"),
    [
        ({"version": 1}, None),
        ({"model": "colour", "truncation": 1.0}, "float32"),
        ({"model": "classes", "label": "class 3"}, None),
        ({"model": "infogan", "codes": {"kind_0": 3}}, "uint8"),
        ({"select": {"method": "rejection", "candidates": 4}}, None),
        ({"model": "ring"}, None),
        ({"model": "films", "condition": 2}, None),
    ],
    ids=lambda each: each and str(each),
)
def test_npy_shards_have_the_rows_that_generate_answers(
    request_: dict[str, Any], dtype: str | None, client: httpx.Client, tmp_path: Path
) -> None:
    shards = draw(tmp_path / "out", request_, *(() if dtype is None else ("--dtype", dtype)))
    for (first, count), shard in zip([(7, 3), (10, 2)], shards, strict=True):
        asked = request_ | {"seed": first, "n": count}
        answer = client.post("/generate?format=npy" + ("" if dtype is None else f"&dtype={dtype}"), json=asked)
        assert answer.status_code == 200
        assert shard == answer.content


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "classes", "scores": True},
        {"model": "infogan"},
        {"model": "ring"},
        {"model": "films", "condition": 2, "scores": True},
    ],
    ids=str,
)
def test_tar_shards_have_the_files_and_the_index_that_a_zip_answer_has(
    request_: dict[str, Any], client: httpx.Client, tmp_path: Path
) -> None:
    shards = draw(tmp_path / "out", request_, "--format", "tar")
    answer = client.post("/generate?format=zip", json=request_ | {"seed": 7, "n": 5})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        index = json.loads(archive.read("index.json"))["samples"]
        expected = {}
        for said in index:
            name, suffix = said.pop("file").split(".")
            expected[f"{int(name):012}.{suffix}"] = archive.read(f"{name}.{suffix}")
            expected[f"{int(name):012}.json"] = said
    found: dict[str, Any] = {}
    for shard in shards:
        with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
            for each in archive:
                assert (each.mtime, each.uid, each.gid, each.mode, each.uname) == (0, 0, 0, 0o644, "")
                file = archive.extractfile(each)
                assert file is not None
                content = file.read()
                found[each.name] = json.loads(content) if each.name.endswith(".json") else content
    assert list(found) == list(expected)
    assert found == expected


def test_packages_in_object_storage_give_the_shards_that_those_of_a_folder_give(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = draw(tmp_path / "local", {"version": 1})
    monkeypatch.setenv("GANYMEDE_MODELS_DIR", f"file://{models_dir}")
    monkeypatch.setenv("GANYMEDE_CACHE_DIR", str(tmp_path / "cache"))
    assert draw(tmp_path / "stored", {"version": 1}) == local
    assert main(["bulk", str(tmp_path / "none"), "--n", "1", "--model", "none"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"there is no package none in file://{models_dir}; ")
    monkeypatch.setenv("GANYMEDE_MODELS_DIR", f"file://{tmp_path}/nowhere")
    assert main(["bulk", str(tmp_path / "none"), "--n", "1"]) == 2
    assert "holds no package NAME/VERSION/manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "size"), [("000000000007.png", 300), ("9223372036854775807.json", 0), ("a", 2**20)])
def test_a_header_of_an_archive_is_the_one_that_tarfile_makes(name: str, size: int) -> None:
    described = tarfile.TarInfo(name)
    described.size = size
    header, _, padding = member(name, bytes(size))
    assert header == described.tobuf(tarfile.USTAR_FORMAT)
    assert (size + len(padding)) % tarfile.BLOCKSIZE == 0


def test_an_archive_of_many_shards_can_be_trained_on(tmp_path: Path) -> None:
    folder = pytest.importorskip("training.data.image_folder.folder", reason="needs what the trainer needs")
    words = ["--n", "120", "--shard-size", "50", "--model", "classes", "--format", "tar"]
    assert main(["bulk", str(tmp_path / "out"), *words]) == 0
    shards = str(tmp_path / "out" / "shard-{000000..000002}.tar")
    images = folder.load(folder.FolderConfig(path=shards, labels="sidecars", held_out_fraction=0.5))
    assert len(images.train) + len(images.held_out) == 120
    assert images.label_names == tuple(map(str, range(10)))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A finished run."""
    out = tmp_path / "out"
    assert main(["bulk", str(out), *BEGINS]) == 0
    return out


@pytest.mark.parametrize(
    ("words", "differs"),
    [
        (["--n", "31"], "n is 30 there and 31 here"),
        (["--seed", "1"], "first_seed is 0 there and 1 here"),
        (["--shard-size", "7"], "shard_size is 10 there and 7 here"),
        (["--format", "tar"], "format is 'npy' there and 'tar' here"),
        (["--dtype", "float32"], "dtype is None there and 'float32' here"),
        (["--label", "2"], "request is {'sampler': 'philox-1', 'label': 1, 'scores': False} there and"),
        (["--model", "many"], "model is 'classes' there and 'many' here; package_sha256 is"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_a_folder_with_another_plan_is_refused_by_what_differs(
    words: list[str], differs: str, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(drawn)
    capsys.readouterr()
    assert main(["bulk", str(drawn), *words]) == 2
    said, errors = capsys.readouterr()
    assert (said, errors.count("\n")) == ("", 1)
    assert f"{drawn} has another plan: " in errors
    assert differs in errors
    assert tree(drawn) == before


def test_another_stack_is_another_plan(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = json.loads((drawn / "plan.json").read_text())
    (drawn / "plan.json").write_text(json.dumps(plan | {"stack": "0123456789abcdef"}))
    assert main(["bulk", str(drawn)]) == 2
    assert "has another plan: stack is '0123456789abcdef' there and" in capsys.readouterr().err


def test_what_is_said_again_is_the_same_plan(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    again = ["--n", "30", "--parameters", '{"model": "classes", "version": "1", "label": "class 1"}']
    assert main(["bulk", str(drawn), *again]) == 0
    assert "in 3 shards, 0 drawn now" in capsys.readouterr().out


def test_what_is_damaged_is_found_and_drawn_again(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in drawn.iterdir()}
    index = [json.loads(line) for line in before["index.jsonl"].splitlines()]
    assert [(each["file"], each["first_seed"], each["last_seed"], each["count"]) for each in index] == [
        (f"shard-00000{number}.npy", 10 * number, 10 * number + 9, 10) for number in range(3)
    ]
    assert main(["bulk", "--verify", str(drawn)]) == 0
    assert "3 shards, all as the index says" in capsys.readouterr().out
    content = bytearray(before["shard-000000.npy"])
    content[-1] ^= 1
    (drawn / "shard-000000.npy").write_bytes(content)
    os.truncate(drawn / "shard-000001.npy", 200)
    (drawn / "shard-000002.npy").unlink()
    (drawn / "shard-000003.npy").write_bytes(b"")
    assert main(["bulk", str(drawn), "--verify", "--json"]) == 1
    said, errors = capsys.readouterr()
    found = {each["file"]: each["problem"] for each in json.loads(said)["findings"]}
    assert found == {
        "shard-000000.npy": "has other bytes than were written: its SHA-256 differs (seeds 0 to 9)",
        "shard-000001.npy": f"has 200 bytes, not {len(content)} (seeds 10 to 19)",
        "shard-000002.npy": "is missing (seeds 20 to 29)",
        "shard-000003.npy": "is no shard of this plan",
    }
    assert main(["bulk", str(drawn), "--verify", "--part", "3/3"]) == 1
    said, errors = capsys.readouterr()
    assert said == f"{drawn}/shard-000002.npy is missing (seeds 20 to 29)\n"
    assert f"`python -m service bulk {drawn} --part 3/3 --repair`" in errors
    (drawn / "shard-000003.npy").unlink()
    assert main(["bulk", str(drawn), "--repair"]) == 0
    assert {path.name: path.read_bytes() for path in drawn.iterdir()} == before


def test_parts_of_two_hosts_are_one_run_once_they_are_in_one_folder(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in (1, 2):
        assert main(["bulk", str(tmp_path / f"host-{host}"), *BEGINS, "--part", f"{host}/2"]) == 0
    subprocess.run(["cp", "-R", f"{tmp_path}/host-2/.", f"{tmp_path}/host-1"], check=True)
    assert main(["bulk", str(tmp_path / "host-1"), "--verify"]) == 1
    assert "index.jsonl is missing" in capsys.readouterr().out
    assert main(["bulk", str(tmp_path / "host-1")]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "host-1").iterdir()} == {
        path.name: path.read_bytes() for path in drawn.iterdir()
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], r"has no plan\.json yet: say with --n how many samples to draw"),
        (["--verify"], r"has no plan\.json, so it is the folder of no run"),
        (["--n", "2", "--parameters", "{"], r"--parameters is not JSON"),
        (["--n", "2", "--parameters", "[]"], r"--parameters is no object"),
        (["--n", "2", "--parameters", '{"seeds": "0-9"}'], r"`seeds` is not taken here, where --n and --seed"),
        (["--n", "2", "--parameters", '{"condition": [1, 2]}'], r"`condition` is the same for all samples here"),
        (["--n", "2", "--parameters", '{"truncate": 1}'], r"the request is not valid: truncate: "),
        (["--n", "2", "--parameters", '{"scores": true}'], r"scores: only JSON and ZIP answers have a place"),
        (["--n", "2", "--label", "3"], r"label: no classes are taken here"),
        (["--n", "2", "--label", "9", "--model", "nonesuch"], r"there is no package nonesuch in .*; there are: "),
        (["--n", "2", "--dtype", "float32", "--format", "tar"], r"dtype: only an NPY answer has an element type"),
        (["--n", "2", "--seed", str(2**63 - 1)], r"--seed \+ 1 would pass 9223372036854775807"),
        (["--n", "2000001", "--shard-size", "1"], r"this would be 2,000,001 shards; choose --shard-size 3 or more"),
        (["--n", "0"], r"it is 1 or more"),
        (["--n", "2", "--part", "3/2"], r'"3/2" is no part; the second of four is 2/4'),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["bulk", str(tmp_path / "out"), *words])
    except SystemExit as end:
        code = end.code
    said, errors = capsys.readouterr()
    assert (code, said, errors.count("\n")) == (2, "", 1)
    assert re.search(sentence, errors)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_run_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("")
    assert main(["bulk", str(tmp_path), "--n", "2"]) == 2
    assert "has files and no plan.json; name a new folder, or an empty one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
