"""Our service on a Ray cluster of this machine: `python -m benchmarks.contenders.on_ray PORT REPLICAS` (deploy/ray).

Settings of the service are environment variables, which its processes inherit.
"""

import sys

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from benchmarks.contenders.server import HOST
from deploy.ray.replica import Replica
from service.engine.config import usable_cores

STORE_BYTES = 80 * 2**20  # little more than the least that Ray accepts


def main(port: int, replicas: int) -> None:
    """Serve until the process is ended; the replicas share the cores.

    Args:
        port: of Ray's proxy.
        replicas: how many.
    """
    cores = usable_cores()
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, object_store_memory=STORE_BYTES)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    serve.start(http_options={"host": HOST, "port": port}, logging_config=quiet)
    each = {"num_cpus": cores // replicas}
    served = Replica.options(num_replicas=replicas, ray_actor_options=each)  # type: ignore[attr-defined]  # a deployment
    serve.run(served.bind(1), logging_config=quiet, blocking=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
