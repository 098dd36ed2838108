"""A process whose device is lost ends, so that its supervisor restarts it; with a fake device."""

from pathlib import Path

import pytest

from tests.support.cuda import customize
from tests.support.serving import ServiceProcess

ON_CUDA = {"load_models": "toy", "device": "cuda"}


@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_sticky_error_the_process_says_so_and_ends_with_1(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    switch = tmp_path / "broken"
    monkeypatch.setenv("PYTHONPATH", customize(tmp_path, switch))
    with ServiceProcess(models_dir, **ON_CUDA, api_workers=workers).loaded() as process, process.client() as client:
        report = client.get("/models/toy/versions/2").json()["generator_on_device"]
        assert report["provider"] == "CUDAExecutionProvider"
        assert report["device"] == {
            "name": "fake card",
            "driver": "580.1",
            "cuda": "13.0",
            "cudnn": "9.20.0",
            "cublas": "13.1.1",
            "cpu_operators": [],
            "form": "heuristic",
        }
        assert client.post("/generate", json={"n": 1, "seed": 1}).status_code == 200
        switch.touch()
        assert client.post("/generate", json={"n": 1, "seed": 1}).status_code in {500, 503}
        assert process.wait_for("the device is lost, and the process ends")["exit_code"] == 1
        assert process.wait() == 1
