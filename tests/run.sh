#!/usr/bin/env bash
# The whole test command: format, lints, every test layer, and the quickstart.
# It installs what it needs, and no container image comes from outside.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=examples/quickstart/needs.sh
. examples/quickstart/needs.sh

PRIVATE=$PWD/.quickstart
BEGAN=$SECONDS
SUMMARY=()

usage() {
  cat <<'END'
usage: tests/run.sh [--only LAYER]…

Layers, in their order: format lint build test quickstart. All of them by default.
END
}

main() {
  local layers=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --only) layers+=("${2:?--only needs a layer}"); shift 2 ;;
      --help | -h) usage; return ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  if [ ${#layers[@]} = 0 ]; then layers=(format lint build test quickstart); fi

  trap finish EXIT
  need_cargo
  need_docker
  need_caddy "$PRIVATE/caddy"
  need_from_debian
  export QUAYMASTER_TEST_CADDY=$CADDY:$OLD_CADDY
  export QUAYMASTER_TEST_REGISTRY=$REGISTRY
  export QUAYMASTER_TEST_PROMETHEUS=$PROMETHEUS
  local layer
  for layer in "${layers[@]}"; do run_layer "$layer"; done
}

run_layer() {
  local began=$SECONDS
  printf '\n=== %s\n' "$1"
  CURRENT=$1
  "layer_$1"
  SUMMARY+=("$(printf '%-12s passed  %4d s' "$1" $((SECONDS - began)))")
  CURRENT=""
}

layer_format() { cargo fmt --all --check; }

layer_lint() {
  cargo clippy --locked --workspace --all-targets -- -D warnings
  if command -v shellcheck >/dev/null; then
    shellcheck --external-sources tests/run.sh examples/ci/*.sh examples/quickstart/*.sh .ci/run
  fi
}

# Everything that the tests run is built first, so that no test waits for a build.
layer_build() {
  build_demo
  export QUAYMASTER_TEST_DEMO=$DEMO
  if has_nextest; then
    cargo nextest run --locked --workspace --no-run
  else
    cargo test --locked --workspace --no-run
  fi
}

layer_test() {
  if has_nextest; then
    cargo nextest run --locked --workspace
  else
    # Without nextest's groups: a few at a time, since most of them run containers.
    cargo test --locked --workspace -- --test-threads 4
  fi
  cargo test --quiet --locked --workspace --doc
}

# README's first command, with the binary that was tested just now.
layer_quickstart() {
  cargo build --quiet --locked --package quaymaster
  QUAYMASTER_BIN=${CARGO_TARGET_DIR:-target}/debug/quaymaster examples/quickstart/run.sh
}

has_nextest() { cargo nextest --version >/dev/null 2>&1; }

# --- what only Debian has ------------------------------------------------------

# A registry, htpasswd for its users, a Prometheus, and a Caddy that is old. The
# packages' own services would take ports 80, 5000 and 9090: only the programs are
# taken out of them.
need_from_debian() {
  command -v htpasswd >/dev/null || apt_install apache2-utils
  command -v systemd-analyze >/dev/null || apt_install systemd
  # For the repositories of the tests, and for hosts in network namespaces.
  command -v git >/dev/null || apt_install git
  command -v ip >/dev/null || apt_install iproute2
  command -v nsenter >/dev/null || apt_install util-linux
  # For an engine on a disk that fills up.
  command -v mkfs.ext4 >/dev/null || apt_install e2fsprogs
  REGISTRY=$(program docker-registry docker-registry)
  PROMETHEUS=$(program prometheus prometheus)
  OLD_CADDY=$(program caddy caddy) || {
    OLD_CADDY=$CADDY
    say "this distribution has no Caddy: the tests of an old Caddy run against the new one"
    SUMMARY+=("old Caddy    not tested: this distribution has none")
  }
}

# Prints the path of program $1 of package $2: the installed one, else one
# unpacked into our own folder.
program() {
  local unpacked=$PRIVATE/debian/$2/usr/bin/$1
  if [ -x "/usr/bin/$1" ]; then
    printf '%s' "/usr/bin/$1"
    return
  fi
  if [ ! -x "$unpacked" ]; then unpack_package "$2"; fi
  [ -x "$unpacked" ] || fail "package $2 holds no $1"
  printf '%s' "$unpacked"
}

unpack_package() {
  local folder=$PRIVATE/debian/$1
  say "fetching Debian's $1 …"
  mkdir -p "$folder"
  # As root, apt downloads as the user _apt, who must not be barred from the folder.
  if ! (cd "$folder" && { apt-get download "$1" || { as_root apt-get update && apt-get download "$1"; }; }) \
    >"$folder/log" 2>&1 </dev/null; then
    cat "$folder/log" >&2
    fail "apt-get could not download $1"
  fi
  dpkg-deb --extract "$folder/$1"_*.deb "$folder"
  rm -f "$folder/$1"_*.deb "$folder/log"
}

# --- the end -------------------------------------------------------------------

CURRENT=""
finish() {
  local status=$?
  trap - EXIT
  if [ -n "$STARTED_DOCKERD" ]; then as_root kill "$STARTED_DOCKERD" 2>/dev/null || true; fi
  if [ -n "$CURRENT" ]; then SUMMARY+=("$(printf '%-12s FAILED' "$CURRENT")"); fi
  if [ ${#SUMMARY[@]} -gt 0 ]; then
    printf '\n=== summary\n'
    printf '%s\n' "${SUMMARY[@]}"
    printf '%-12s %12d s\n' "in all" $((SECONDS - BEGAN))
  fi
  exit "$status"
}

main "$@"
