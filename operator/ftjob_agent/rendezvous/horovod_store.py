"""Horovod's key-value store on a fixed port; run as a child by the trainer's own Python, which has Horovod.

The store is filled with the hosts and slots of the plan, so that no launcher and no ssh is needed. One line
of JSON on stdout says whether it is up. Each line of stdin names the hosts that may use it,
``{"peers": ["10.0.0.7"]}``; it ends when its stdin does, that is with the agent.
"""

import json
import os
import sys

from ftjob_agent.rendezvous.guard import Guard


def serve(prefix: str, workers: int, slots: int, host: str, port: int) -> None:
    """Serve until stdin ends."""
    import threading

    try:
        from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
        from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer
    except ImportError as error:
        _say(error=f"horovod cannot be imported by {sys.executable} ({error}); use an image that has Horovod")
        return
    guard = Guard()
    try:
        server = guard.protect(RendezvousHTTPServer)((host, port), RendezvousHandler, 0)
    except OSError as error:
        _say(
            error=f"port {port} cannot be opened ({error.strerror}); with hostNetwork another job on this "
            "node may have it: give the jobs different nodes, or leave hostNetwork out"
        )
        return
    hosts = ",".join(f"{prefix}{index}:{slots}" for index in range(workers))
    server.init(get_host_assignments(parse_hosts(hosts), workers * slots))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _say(ready=True)
    for line in sys.stdin:
        guard.change(json.loads(line)["peers"])
    os._exit(0)


def _say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prefix, workers, slots, host, port = sys.argv[1:]
    serve(prefix, int(workers), int(slots), host, int(port))
