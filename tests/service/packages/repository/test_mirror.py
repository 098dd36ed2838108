"""A folder that follows an object store: it has whole packages alone, whatever happens to the store or on the way."""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from prometheus_client import CollectorRegistry

from service.engine.model_spec import PackageKey
from service.errors import FileDamaged, NotFound
from service.metrics import Telemetry
from service.packages.repository.mirror import Mirror, only_model
from service.packages.repository.scan import LoadPolicy
from service.packages.repository.store import what_is_missing, without_secrets
from service.settings import Settings
from tests.support.object_storage import BUCKET, SECRET, URL, ObjectStorage, credentials
from tests.support.proxy import Proxy, Refusal
from tests.support.served import loaded
from tests.support.serving import ROOT, TIMEOUT_S
from tests.support.toy import republish, write_toy_package

FIRST, SECOND = PackageKey("toy", 1), PackageKey("toy", 2)
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
# A process that fetches once, as the service does.
FETCH = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from service.metrics import Telemetry
from service.packages.repository.mirror import Mirror
from service.packages.repository.scan import LoadPolicy
from service.settings import Settings
policy = LoadPolicy(Settings(default_model="toy"))
Mirror(sys.argv[1], Path(sys.argv[2]), policy, Telemetry(CollectorRegistry())).update()
"""


class Follower:
    """A mirror with its metrics, as one process has it.

    Args:
        url: of the store.
        cache_dir: of the process.
        load_models: as the setting.
    """

    def __init__(self, url: str, cache_dir: Path, load_models: str = "") -> None:
        self.registry = CollectorRegistry()
        policy = LoadPolicy(Settings(default_model="toy", load_models=load_models))
        self.mirror = Mirror(url, cache_dir, policy, Telemetry(self.registry))

    def update(self) -> dict[str, str | None]:
        """Follow the store; returns the packages in the folder, and why others are not."""
        self.mirror.update()
        found = self.mirror.look()
        return {str(key): None for key in found.packages} | {str(key): why for key, why in found.absent.items()}

    @property
    def problem(self) -> str:
        return self.mirror.look().problem or ""

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0

    def content(self) -> Mapping[str, bytes]:
        """Every file of every package, by its path."""
        return files_of(self.mirror.folder)


def files_of(folder: Path) -> Mapping[str, bytes]:
    return {
        f"{file.parts[-3]}/{file.parts[-2]}/{file.name}": file.read_bytes() for file in folder.glob("[!.]*/[!.]*/*")
    }


def publish(folder: Path, version: int = 1, name: str = "toy") -> Path:
    return write_toy_package(folder, name, version, seed=version, discriminator=False)


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStorage]:
    with ObjectStorage() as running:
        yield running


@pytest.fixture
def proxy(server: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What the service takes for the store."""
    with Proxy(server.port) as between:
        for name, value in credentials(int(between.origin.rpartition(":")[2])).items():
            monkeypatch.setenv(name, value)
        yield between


@pytest.fixture
def store(server: ObjectStorage, proxy: Proxy) -> Iterator[ObjectStorage]:
    """A store that is reached through the proxy, empty at the beginning."""
    yield server
    server.empty()


def asked_objects(proxy: Proxy) -> list[str]:
    """The objects that were asked for since the last call, listings aside."""
    asked = [path.removeprefix(f"/{BUCKET}/served/") for _, path, _ in proxy.asked if path.count("/") > 2]
    proxy.asked.clear()
    return asked


def path_of(key: str) -> str:
    return f"/{BUCKET}/served/{key}"


def test_it_has_the_bytes_of_a_local_folder_and_fetches_nothing_twice(
    store: ObjectStorage, proxy: Proxy, tmp_path: Path
) -> None:
    for version in (1, 2):
        store.publish(publish(tmp_path / "local", version))
    follower = Follower(URL, tmp_path / "cache")
    assert follower.update() == {"toy/2": None, "toy/1": None}
    assert follower.content() == files_of(tmp_path / "local")
    assert len(asked_objects(proxy)) == 6
    assert follower.update() == {"toy/2": None, "toy/1": None}
    assert asked_objects(proxy) == []
    assert Follower(URL, tmp_path / "cache").update() == {"toy/2": None, "toy/1": None}
    assert sorted(asked_objects(proxy)) == ["toy/1/manifest.json", "toy/2/manifest.json"]


def test_a_package_is_taken_when_all_that_its_manifest_names_is_there(store: ObjectStorage, tmp_path: Path) -> None:
    folder = publish(tmp_path / "local")
    follower = Follower(URL, tmp_path / "cache")
    store.publish(folder, left_out="manifest.json")
    assert follower.update() == {}
    assert follower.problem == f"{URL}: holds no package NAME/VERSION/manifest.json; name the folder that does"
    store.publish(folder)
    store.delete("toy/1/golden.npz")
    assert follower.update() == {
        "toy/1": "golden.npz: is not in the store; a package is taken when all its files are there"
    }
    store.put("toy/1/golden.npz", (folder / "golden.npz").read_bytes()[:-1])
    assert "golden.npz: " in (reason := follower.update()["toy/1"] or "")
    assert reason.endswith("in the store")
    store.put("toy/1/golden.npz", (folder / "golden.npz").read_bytes())
    assert follower.update() == {"toy/1": None}
    assert follower.content() == files_of(tmp_path / "local")


def test_a_transfer_that_is_cut_off_goes_on_where_it_was(store: ObjectStorage, proxy: Proxy, tmp_path: Path) -> None:
    store.publish(publish(tmp_path / "local"))
    proxy.refusals = {path_of("toy/1/generator.onnx"): [Refusal("cut"), Refusal("cut")]}
    follower = Follower(URL, tmp_path / "cache")
    assert follower.update() == {"toy/1": None}
    assert asked_objects(proxy).count("toy/1/generator.onnx") == 3
    assert follower.content() == files_of(tmp_path / "local")


def test_a_corrupted_object_is_refused_with_both_hashes_and_taken_when_it_is_sound(
    store: ObjectStorage, proxy: Proxy, tmp_path: Path
) -> None:
    folder = publish(tmp_path / "local", 2)
    store.publish(publish(tmp_path / "local", 1))
    store.publish(folder)
    proxy.refusals = {path_of("toy/2/generator.onnx"): [Refusal("corrupted")]}
    follower = Follower(URL, tmp_path / "cache")
    before = follower.update()
    sound = hashlib.sha256((folder / "generator.onnx").read_bytes()).hexdigest()
    assert (before["toy/1"], (before["toy/2"] or "")[:97]) == (None, f"generator.onnx: SHA-256 {sound} expected")
    assert follower.metric("ganymede_storage_errors_total") == 1
    asked_objects(proxy)
    assert follower.update() == before, "it is tried again after a pause"
    assert asked_objects(proxy) == []
    time.sleep(1.1)  # the store's times are whole seconds, and the object is the same
    store.put("toy/2/generator.onnx", (folder / "generator.onnx").read_bytes())
    assert follower.update() == {"toy/2": None, "toy/1": None}
    assert follower.content() == files_of(tmp_path / "local")


def test_refused_credentials_are_said_in_a_sentence_without_the_secret_and_change_nothing(
    store: ObjectStorage, proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.publish(publish(tmp_path / "local"))
    follower = Follower(URL, tmp_path / "cache")
    follower.update()
    proxy.refusals = {f"/{BUCKET}": [Refusal(403, {}, DENIED)]}
    assert follower.update() == {"toy/1": None}
    assert follower.problem.startswith(f"{URL}: the store refuses the service's credentials (Access Denied); give it ")
    assert follower.update() == {"toy/1": None}
    assert follower.problem == ""
    assert SECRET not in capsys.readouterr().out


def test_a_store_that_is_gone_leaves_the_folder_as_it_is_and_a_metric_says_for_how_long(
    server: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server.port) as proxy:
        for name, value in credentials(int(proxy.origin.rpartition(":")[2])).items():
            monkeypatch.setenv(name, value)
        server.publish(publish(tmp_path / "local"))
        Follower(URL, tmp_path / "cache").update()
    server.empty()
    follower = Follower(URL, tmp_path / "cache")
    assert follower.metric("ganymede_storage_unread_seconds") == 0
    assert follower.update() == {"toy/1": None}
    assert "the store cannot be read (EndpointConnectionError: Could not connect" in follower.problem
    assert "?" not in follower.problem
    before_s = follower.metric("ganymede_storage_unread_seconds")
    assert follower.metric("ganymede_storage_unread_seconds") > before_s > 0
    assert follower.metric("ganymede_storage_errors_total") == 1
    assert follower.content() == files_of(tmp_path / "local")


def test_objects_with_hostile_names_are_left_alone(tmp_path: Path) -> None:
    folder = publish(tmp_path / "local")
    objects = {f"toy/1/{file.name}": file.read_bytes() for file in folder.iterdir()}
    names = ("../toy/3", "toy/../../3", "/etc/4", "//etc/4", "TOY/5", "toy/06", "toy/7/8", "toy/.9", "toy/1/..", "\0/1")
    objects |= {f"{name}/manifest.json": objects["toy/1/manifest.json"] for name in names}
    escaping = json.loads(objects["toy/1/manifest.json"])
    escaping["version"] = 2
    escaping["files"]["../../../escaped.onnx"] = escaping["files"]["generator.onnx"]
    objects["toy/2/manifest.json"] = json.dumps(escaping).encode()
    memory = MemoryFileSystem()
    for name, content in objects.items():
        MemoryFileSystem.store[f"/hostile/{name}"] = MemoryFile(memory, f"/hostile/{name}", content)
    before = set(tmp_path.rglob("*"))
    found = Follower("memory://hostile", tmp_path / "cache").update()
    assert (found.pop("toy/2") or "").startswith("manifest.json: files")
    assert found == {"toy/1": None}
    written = {path for path in set(tmp_path.rglob("*")) - before if tmp_path / "cache" not in path.parents}
    assert written == {tmp_path / "cache"}


def test_what_is_larger_than_stated_is_refused_before_it_is_held(
    store: ObjectStorage, proxy: Proxy, tmp_path: Path
) -> None:
    folder = publish(tmp_path / "local")
    store.publish(folder)
    stated = (folder / "generator.onnx").stat().st_size
    proxy.refusals = {path_of("toy/1/generator.onnx"): [Refusal(200, {}, bytes(32 * 1024 * 1024))]}
    reason = Follower(URL, tmp_path / "cache").update()["toy/1"]
    assert reason == f"generator.onnx: more than the {stated} bytes expected arrive from the store"
    store.put("toy/1/manifest.json", b" " * (4 * 1024 * 1024 + 1))
    reason = Follower(URL, tmp_path / "cache").update()["toy/1"]
    assert reason == "manifest.json: more than the 4194304 bytes expected arrive from the store"


def test_what_arrives_too_slowly_is_given_up(
    store: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(publish(tmp_path / "local"))
    monkeypatch.setattr("service.packages.repository.store.SLOW_S", 0.0)
    monkeypatch.setattr("service.packages.repository.store.LEAST_BYTES_S", 1e12)
    reason = Follower(URL, tmp_path / "cache").update()["toy/1"] or ""
    assert re.fullmatch(r"manifest\.json: \d+ bytes arrived from the store in 0 s, which is too slow", reason)


def test_a_full_disk_refuses_a_package_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    write_toy_package(tmp_path / "local", "toy", 1, discriminator=False)
    write_toy_package(tmp_path / "local", "toy", 2, channels=3, height=64, width=64, discriminator=False)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        disk.chmod(0o700)
        follower = Follower(f"file://{tmp_path / 'local'}", disk)
        found = follower.update()
        assert found.pop("toy/1") is None
        assert "the cache of packages" in (found.pop("toy/2") or "")
        assert {name for name in follower.content() if not name.startswith("toy/1/")} == set()
        assert list(follower.mirror.folder.glob(".fetching-*")) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_the_store_no_longer_has_goes_but_never_all_of_it(tmp_path: Path) -> None:
    local = tmp_path / "local"
    for version in (1, 2):
        publish(local, version)
    follower = Follower(f"file://{local}", tmp_path / "cache")
    follower.update()
    shutil.rmtree(local / "toy/1")
    assert follower.update() == {"toy/2": None}
    assert len(list((follower.mirror.folder / ".content").iterdir())) == 1
    shutil.rmtree(local / "toy/2")
    assert follower.update() == {"toy/2": None}
    assert "holds no package" in follower.problem
    shutil.rmtree(local)
    assert follower.update() == {"toy/2": None}


def test_a_store_that_is_one_package_is_followed_by_the_version_that_its_manifest_states(tmp_path: Path) -> None:
    url, root = f"file://{tmp_path}/root", tmp_path / "root"
    publish(tmp_path / "local", 1).rename(root)
    follower = Follower(url, tmp_path / "cache")
    assert only_model(url, tmp_path / "cache") == "toy"
    assert follower.update() == {"toy/1": None}
    shutil.rmtree(root)
    assert only_model(url, tmp_path / "cache") == "toy", "it is what it was when the store answered"
    publish(tmp_path / "local", 2).rename(root)
    assert follower.update() == {"toy/2": None}
    assert only_model(f"file://{tmp_path}/local", tmp_path / "cache") is None


def test_a_damaged_cache_is_mended_by_the_next_process(tmp_path: Path) -> None:
    publish(tmp_path / "local")
    url = f"file://{tmp_path / 'local'}"
    follower = Follower(url, tmp_path / "cache")
    follower.update()
    (generator,) = follower.mirror.folder.glob("toy/1/generator.onnx")
    generator.write_bytes(generator.read_bytes()[:-1] + b"?")
    assert follower.update() == {"toy/1": None}, "the change is seen at once, too"
    assert follower.content() == files_of(tmp_path / "local")
    (follower.mirror.folder / "toy/1").unlink()
    assert Follower(url, tmp_path / "cache").update() == {"toy/1": None}
    assert follower.content() == files_of(tmp_path / "local")


def test_a_version_that_changes_in_the_store_is_never_half_the_one_and_half_the_other(tmp_path: Path) -> None:
    folder = publish(tmp_path / "local")
    follower = Follower(f"file://{tmp_path / 'local'}", tmp_path / "cache")
    follower.update()
    before = follower.content()
    (folder / "generator.onnx").write_bytes(publish(tmp_path / "other", 2).joinpath("generator.onnx").read_bytes())
    assert follower.update() == {"toy/1": None}
    assert follower.content() == before, "the manifest is what identifies a package"
    republish(folder, {"generator.onnx": (folder / "generator.onnx").read_bytes()})
    assert follower.update() == {"toy/1": None}
    assert follower.content() == files_of(tmp_path / "local")


def test_models_that_are_not_to_be_loaded_are_listed_and_not_fetched(tmp_path: Path) -> None:
    publish(tmp_path / "local")
    publish(tmp_path / "local", 1, "other")
    follower = Follower(f"file://{tmp_path / 'local'}", tmp_path / "cache", load_models="toy")
    assert follower.update() == {"toy/1": None, "other/1": None}
    assert {name.partition("/")[0] for name in follower.content()} == {"toy"}


def test_two_that_fetch_at_once_into_one_cache_have_the_same_packages(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        publish(tmp_path / "local", version)
    followers = [Follower(f"file://{tmp_path / 'local'}", tmp_path / "cache") for _ in range(4)]
    threads = [threading.Thread(target=follower.update) for follower in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [follower.problem for follower in followers] == [""] * 4
    assert followers[0].content() == files_of(tmp_path / "local")


def test_a_process_that_is_killed_while_it_fetches_leaves_no_package_and_the_next_one_has_it(
    store: ObjectStorage, proxy: Proxy, tmp_path: Path
) -> None:
    store.publish(publish(tmp_path / "local"))
    proxy.refusals = {path_of("toy/1/golden.npz"): [Refusal("stalled")]}
    fetching = subprocess.Popen([sys.executable, "-c", FETCH, URL, str(tmp_path / "cache")], cwd=ROOT)
    assert proxy.stalled.wait(TIMEOUT_S)
    fetching.send_signal(signal.SIGKILL)
    fetching.wait()
    follower = Follower(URL, tmp_path / "cache")
    assert follower.mirror.look().packages == {}
    assert len(list(follower.mirror.folder.glob(".fetching-*"))) == 1
    assert follower.update() == {"toy/1": None}
    assert list(follower.mirror.folder.glob(".fetching-*")) == []
    assert follower.content() == files_of(tmp_path / "local")


def test_one_that_waits_for_a_process_that_fetches_says_so_and_goes_on_when_that_ends(tmp_path: Path) -> None:
    publish(tmp_path / "local")
    url = f"file://{tmp_path / 'local'}"
    follower = Follower(url, tmp_path / "cache")
    follower.mirror.folder.mkdir(0o700, parents=True)
    with (follower.mirror.folder / ".lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        command = [sys.executable, "-c", FETCH, url, str(tmp_path / "cache")]
        waiting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert "waits for another process" in waiting.stdout.readline()
        assert waiting.poll() is None
        assert follower.content() == {}
    assert "package fetched" in waiting.communicate(timeout=TIMEOUT_S)[0]
    assert follower.content() == files_of(tmp_path / "local")


def test_a_package_that_cannot_be_fetched_is_refused_beside_those_that_are_served(tmp_path: Path) -> None:
    local, url = tmp_path / "local", f"file://{tmp_path / 'local'}"
    reason = "golden.npz: is not in the store; a package is taken when all its files are there"

    async def scenario() -> None:
        async with loaded(url, cache_dir=str(tmp_path / "cache"), load_models="toy") as served:
            assert served.states() == {"other/1": "unloaded", "toy/1": "ready"}
            golden = publish(local, 2) / "golden.npz"
            content = golden.read_bytes()
            golden.unlink()
            for _ in range(2):
                await served.repository.rescan()
                assert served.states() == {"other/1": "unloaded", "toy/2": "refused", "toy/1": "ready"}
            assert served.repository.statuses()[1].reason == reason
            assert served.metric("ganymede_package_refused", model="toy", version="2") == 1
            with pytest.raises(FileDamaged, match=rf"^toy/2: {re.escape(reason)}$"):
                await served.repository.load("toy")
            with pytest.raises(NotFound):
                await served.repository.load("nowhere")
            golden.write_bytes(content)
            await served.repository.load("toy")
            assert served.repository.find().key == SECOND
            await served.repository.load("other")
            assert served.states() == {"other/1": "ready", "toy/2": "ready", "toy/1": "ready"}
            shutil.rmtree(local / "other/1")
            shutil.rmtree(local / "toy/2")
            await served.repository.rescan()
            await served.until("other/1", None)
            await served.until("toy/2", None)
            assert served.repository.find().key == FIRST

    publish(local, 1)
    publish(local, 1, "other")
    asyncio.run(scenario())


def test_a_start_without_the_store_and_without_a_cache_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(f"file://{tmp_path}/nowhere", cache_dir=str(tmp_path / "cache")):
            pass

    with pytest.raises(FileDamaged, match=r"nowhere: holds no package NAME/VERSION/manifest\.json; name the folder"):
        asyncio.run(scenario())


def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    publish(tmp_path / "local")
    follower = Follower(f"file://{tmp_path / 'local'}", tmp_path / "cache")
    follower.update()
    follower.mirror.folder.chmod(0o777)
    follower.update()
    assert follower.problem.endswith("can be written by others; make it private, or move it")


def test_a_cache_that_cannot_be_written_is_said_with_the_setting_that_names_another(tmp_path: Path) -> None:
    publish(tmp_path / "local")
    (tmp_path / "file").write_text("no folder")
    follower = Follower(f"file://{tmp_path / 'local'}", tmp_path / "file/cache")
    assert follower.update() == {}
    assert "cannot be written (Not a directory); name another folder by GANYMEDE_CACHE_DIR" in follower.problem


def test_what_must_be_installed_is_named() -> None:
    assert what_is_missing("s3://bucket") is None
    assert what_is_missing("adl://store") == "this needs adlfs; pip install adlfs"
    assert what_is_missing("no://store") == "fsspec knows no no://; it knows s3://, gs://, hf://, az:// and others"


def test_a_url_is_shown_without_its_secrets() -> None:
    assert without_secrets("ftp://me:password@host/models?token=1#x") == "ftp://host/models"
    assert without_secrets(URL) == URL
    assert os.environ.get("AWS_SECRET_ACCESS_KEY") != SECRET
