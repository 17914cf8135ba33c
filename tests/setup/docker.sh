#!/bin/bash
# Leaves a container engine that answers `docker info`: the one that runs, or, for root on a Debian
# machine, Debian's own, installed and started if need be.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

answers() { docker info >/dev/null 2>&1; }

# `--privileged` asks for all capabilities. Where this machine itself lacks one, starting such a container
# fails, so the request goes through a runtime that leaves that one out.
fit_runtime() {
  local bounding
  bounding=$(awk '/^CapBnd/{print $2}' /proc/self/status)
  if ((16#$bounding >> 24 & 1)); then return 0; fi  # 24 is CAP_SYS_RESOURCE
  install -D -m 0755 "$REPO/tests/kind/runc-fit" /usr/local/lib/ftjob/runc-fit
  python3 - <<'PYTHON'
import json, pathlib
path = pathlib.Path("/etc/docker/daemon.json")
old = json.loads(path.read_text()) if path.exists() else {}
new = old | {"default-runtime": "runc-fit"}
new["runtimes"] = old.get("runtimes", {}) | {"runc-fit": {"path": "/usr/local/lib/ftjob/runc-fit"}}
if new != old:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(new, indent=2))
PYTHON
}

start_engine() {
  answers && return
  [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] ||
    die "no container engine answers: start Docker, or make sure that you may use it (docker info)"
  if ! command -v dockerd >/dev/null; then
    say "installing docker"
    apt_install docker.io iptables
  fi
  fit_runtime
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  elif ! pgrep -x dockerd >/dev/null; then
    rm -f /var/run/docker.pid
    say "starting docker"
    setsid nohup dockerd >"$CACHE/log/dockerd.log" 2>&1 </dev/null 9>&- &
  fi
  for _ in $(seq 150); do
    answers && return
    sleep 0.2
  done
  tail -n 20 "$CACHE/log/dockerd.log" >&2
  die "docker did not start; its log: $CACHE/log/dockerd.log"
}

answers || locked docker start_engine
