"""The service runs in one process without the code of several."""

import sys
from pathlib import Path

from tests.support.serving import ServiceProcess

# Runs the module of the command that follows, `python -m service`, as if the folder had been deleted.
WITHOUT_MULTIPROCESS = """
import runpy, sys
sys.modules["service.multiprocess"] = None
module = sys.argv[3]
del sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
LAUNCHER = (sys.executable, "-c", WITHOUT_MULTIPROCESS)


def test_one_process_answers_without_the_folder_of_several(models_dir: Path) -> None:
    with ServiceProcess(models_dir, LAUNCHER, load_models="toy") as process:
        with process.loaded().client() as client:
            answer = client.post("/generate", json={"n": 2, "seed": 7}, headers={"accept": "application/x-npy"})
            assert answer.status_code == 200
            assert client.get("/metrics").status_code == 200
        process.terminate()
        assert process.wait() == 0


def test_only_several_processes_need_the_folder(models_dir: Path) -> None:
    with ServiceProcess(models_dir, LAUNCHER, load_models="toy", api_workers=2) as process:
        assert process.wait() == 1
