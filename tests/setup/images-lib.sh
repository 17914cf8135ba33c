# shellcheck shell=bash
# Base images and the client settings that image builds need. Sourced after common.sh.
DEBIAN_IMAGE=ftjob/debian:$DEBIAN_SUITE

# The classic builder where there is no buildx (Debian's docker); the Dockerfiles work with both.
if ! docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=0; fi
export BUILDX_NO_DEFAULT_ATTESTATIONS=1

ca_bundle() { # the certificates that this machine's clients trust
  local file
  for file in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" /etc/ssl/certs/ca-certificates.crt \
    /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -n "$file" ] && [ -f "$file" ]; then echo "$file"; return; fi
  done
  python3 -c 'import ssl; print(ssl.get_default_verify_paths().cafile)'
}

# registry_reachable: can images be pulled? Asked once in a run, with a tiny image and a limit.
registry_reachable() {
  if [ -z "${FTJOB_REGISTRY:-}" ]; then
    if timeout 20 docker pull -q hello-world >/dev/null 2>&1; then FTJOB_REGISTRY=yes; else FTJOB_REGISTRY=no; fi
    export FTJOB_REGISTRY
  fi
  [ "$FTJOB_REGISTRY" = yes ]
}

import_debian() {
  local root=$CACHE/debian-$DEBIAN_SUITE
  [ "$(id -u)" = 0 ] || die "no image registry is reachable; building the base image instead needs root"
  need debootstrap debootstrap
  rm -rf "$root"
  debootstrap --variant=minbase "$DEBIAN_SUITE" "$root"
  # slim, and so is what is installed on top of it
  printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/* "$root"/var/log/*
  tar -C "$root" -c . | docker import - "$DEBIAN_IMAGE"
  rm -rf "$root"
}

make_debian_image() {
  docker image inspect "$DEBIAN_IMAGE" >/dev/null 2>&1 || timed "Debian base image" import_debian
}
ensure_debian_image() { locked debian-image make_debian_image >&2; }

# What the package clients of this machine are told by environment and pip's configuration, for the stages
# that install packages: certificates, index, proxies. Paths mean nothing inside a build, so only the
# certificates travel, as a file. No final image holds any of it.
write_client_settings() { # write_client_settings FOLDER
  mkdir -p "$1"
  cp "$(ca_bundle)" "$1/ca.crt"
  {
    env | grep -E '^(PIP|UV)_[A-Z_]+=[^/]+$|^[A-Za-z]+_(proxy|PROXY)=' | sed -E "s/'/'\\\\''/g; s/^([^=]+)=(.*)$/export \1='\2'/" || true
    python3 -m pip config list 2>/dev/null |
      sed -nE "s/^(global|install)\.(index-url|extra-index-url|trusted-host)='(.*)'$/PIP_\2='\3'/p" |
      while IFS='=' read -r name value; do
        name=$(tr a-z- A-Z_ <<<"$name")
        [ -n "${!name:-}" ] || echo "export $name=$value"
      done
    cat <<'SETTINGS_SH'
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi
certificates=$PWD/ca.crt
export SSL_CERT_FILE="$certificates" PIP_CERT="$certificates" REQUESTS_CA_BUNDLE="$certificates"
SETTINGS_SH
  } >"$1/settings.sh"
}
