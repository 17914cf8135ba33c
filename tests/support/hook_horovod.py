"""Two Horovod ranks on this machine: `hook_horovod.py FOLDER PROGRAM [ARGUMENT...]`.

Each rank has a folder of its own below FOLDER, with its output in `output.txt`. It finds its hooks by
`RANK_PYTHONPATH`, which this process itself is not to load.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import RendezvousServer


def main(folder: Path, *program: str) -> int:
    """Serve the rendezvous and run the ranks."""
    server = RendezvousServer()
    port = server.start()
    server.init(get_host_assignments(parse_hosts("localhost:2"), 2))
    ranks = []
    for rank in range(2):
        own = folder / f"rank-{rank:05d}"
        own.mkdir(parents=True, exist_ok=True)
        env = {
            "FTJOB_RANK": rank,
            "FTJOB_RANK_DIR": own,
            "PYTHONPATH": os.environ["RANK_PYTHONPATH"],
            "HOROVOD_RANK": rank,
            "HOROVOD_SIZE": 2,
            "HOROVOD_LOCAL_RANK": rank,
            "HOROVOD_LOCAL_SIZE": 2,
            "HOROVOD_CROSS_RANK": 0,
            "HOROVOD_CROSS_SIZE": 1,
            "HOROVOD_HOSTNAME": "localhost",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
            "HOROVOD_GLOO_RENDEZVOUS_PORT": port,
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_GLOO_IFACE": "lo",
        }
        with (own / "output.txt").open("w") as output:
            ranks.append(
                subprocess.Popen(
                    [sys.executable, *program],
                    env=os.environ | {name: str(value) for name, value in env.items()},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    codes = [rank.wait() for rank in ranks]
    server.stop()
    return max(map(abs, codes))


if __name__ == "__main__":
    signal.alarm(240)  # ranks that lose each other must not outlive the test
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
