"""An S3 server on loopback, moto's, as a process of its own; objects are put and deleted by plain HTTP."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from tests.support.serving import TIMEOUT_S

BUCKET: Final = "models"
URL: Final = f"s3://{BUCKET}/served"
# Moto refuses those without a signature, and compares none.
SIGNED: Final = {
    "authorization": "AWS4-HMAC-SHA256 Credential=writer/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=0"
}
SECRET: Final = "a-secret-that-no-line-may-have"  # noqa: S105  (moto lets in everyone)


class ObjectStorage:
    """An S3 server with one bucket; leaving the block ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        found = next(filter(None, (re.search(r"http://127.0.0.1:(\d+)", line) for line in self._process.stderr)))
        self.port = int(found[1])
        origin = f"http://127.0.0.1:{self.port}"
        self._client = httpx.Client(base_url=origin, headers=SIGNED, trust_env=False, timeout=TIMEOUT_S)
        self._client.put(f"/{BUCKET}").raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End it, as a store that is gone; may be called again."""
        self._client.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def put(self, key: str, content: bytes) -> None:
        """Write an object below the folder of packages."""
        self._client.put(f"/{BUCKET}/served/{key}", content=content).raise_for_status()

    def delete(self, key: str) -> None:
        """Delete an object below the folder of packages."""
        self._client.delete(f"/{BUCKET}/served/{key}").raise_for_status()

    def publish(self, folder: Path, *, left_out: str = "") -> None:
        """Upload a package's folder NAME/VERSION, its manifest last, all but one file."""
        files = sorted(folder.iterdir(), key=lambda file: file.name == "manifest.json")
        for file in files:
            if file.name != left_out:
                self.put(f"{folder.parent.name}/{folder.name}/{file.name}", file.read_bytes())

    def empty(self) -> None:
        """Delete all objects."""
        for key in re.findall("<Key>served/([^<]*)</Key>", self._client.get(f"/{BUCKET}?list-type=2").text):
            self.delete(key)


def credentials(port: int) -> dict[str, str]:
    """The environment in which a reader finds a server, and what it knows him by."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
