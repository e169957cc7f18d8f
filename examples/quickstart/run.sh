#!/usr/bin/env bash
# Quaymaster in one minute: deploy, flip, roll back and survive a bad release,
# while a client counts every request. See `run.sh --help`.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$HERE/../.."
# shellcheck source=examples/quickstart/needs.sh
. "$HERE/needs.sh"

STACK=quickstart
IMAGE=quickstart/shop
PRIVATE=$PWD/.quickstart
KEPT=$PRIVATE/kept

usage() {
  cat <<'END'
usage: examples/quickstart/run.sh [--keep | --stop]

Installs what is missing (Docker from the distribution, Caddy into .quickstart/),
builds Quaymaster, starts it with a Caddy on a free port, deploys a demo shop,
and shows a flip, a rollback and a release that fails, under load.

  --keep   leave it running, and say how to play on
  --stop   end what --keep left running, and remove everything it made

QUAYMASTER_BIN=PATH uses a binary that is built already.
END
}

main() {
  local keep=no
  case "${1:-}" in
    "") ;;
    --keep) keep=yes ;;
    --stop) stop_kept; return ;;
    --help | -h) usage; return ;;
    *) usage >&2; exit 2 ;;
  esac
  prepare
  trap 'clean_up' EXIT
  trap 'exit 130' INT TERM
  start
  show
  if [ "$keep" = yes ]; then
    keep_running
    trap - EXIT
  fi
}

# --- before anything runs ------------------------------------------------------

prepare() {
  need_cargo
  need_docker
  need_caddy "$PRIVATE/caddy"
  if [ -n "$(docker ps --all --quiet --filter "label=quaymaster.stack=$STACK")" ]; then
    fail "a stack named \`$STACK\` runs here already" "examples/quickstart/run.sh --stop"
  fi
  if [ -n "${QUAYMASTER_BIN:-}" ]; then
    [ -x "$QUAYMASTER_BIN" ] || fail "QUAYMASTER_BIN=$QUAYMASTER_BIN cannot be run"
    QUAYMASTER=$(realpath "$QUAYMASTER_BIN")
  else
    say "building Quaymaster; the first time takes a few minutes …"
    cargo build --quiet --locked --release --package quaymaster >&2 ||
      fail "Quaymaster does not build"
    QUAYMASTER=${CARGO_TARGET_DIR:-$PWD/target}/release/quaymaster
  fi
  build_demo
}

# --- what runs -----------------------------------------------------------------

start() {
  DIR=$(mktemp -d "${TMPDIR:-/tmp}/quaymaster-quickstart.XXXXXX")
  FILE=$DIR/quaymaster.yaml
  PORT=$(free_port)
  URL=http://shop.localhost:$PORT/
  export QUICKSTART_DIR=$DIR QUAYMASTER_STATE_DIR=$DIR/state QUAYMASTER_SOCKET=$DIR/quaymaster.sock

  build_images
  start_caddy

  heading "Quaymaster quickstart"
  printf '  %s\n\n' "$(dim "docker $(docker version --format '{{.Server.Version}}'), caddy $(
    caddy_version "$CADDY"), $("$QUAYMASTER" --version), $URL")"
  cp "$HERE/quaymaster.yaml" "$FILE"
  "$QUAYMASTER" run "$FILE" >"$DIR/quaymaster.log" 2>&1 </dev/null &
  CONTROLLER=$!
}

build_images() {
  cp "$HERE"/images/Dockerfile* "$DEMO" "$DIR/"
  local version dockerfile
  for version in v1 v2 v3; do
    dockerfile=Dockerfile
    [ "$version" = v3 ] && dockerfile=Dockerfile.broken
    # The classic builder is part of every Docker; BuildKit is not.
    DOCKER_BUILDKIT=0 docker build --quiet --build-arg "VERSION=$version" \
      --file "$DIR/$dockerfile" --tag "$IMAGE:$version" "$DIR" >"$DIR/build.log" 2>&1 ||
      { cat "$DIR/build.log" >&2; fail "the demo image $version does not build"; }
  done
}

start_caddy() {
  cat >"$DIR/Caddyfile" <<END
{
	admin unix/$DIR/caddy.sock
	auto_https off
	persist_config off
}
http://:$PORT {
	respond "nothing here" 404
}
END
  XDG_DATA_HOME=$DIR/caddy XDG_CONFIG_HOME=$DIR/caddy \
    "$CADDY" run --config "$DIR/Caddyfile" --adapter caddyfile >"$DIR/caddy.log" 2>&1 </dev/null &
  CADDY_PID=$!
  until_true 10 test -S "$DIR/caddy.sock" || { cat "$DIR/caddy.log" >&2; fail "Caddy does not start"; }
}

# --- what is shown -------------------------------------------------------------

show() {
  step "deploy v1"
  until_answers "v1 blue"
  until_state settled
  arrived "v1 serves from blue"

  "$DEMO" load "$URL" --keep-alive 8 --pause 4 >"$DIR/load.json" 2>"$DIR/load.log" </dev/null &
  LOAD=$!

  step "edit: v2 in green"
  edit v2 green
  until_answers "v2 green"
  arrived "v2 serves from green"
  until_state settled

  step "revert the edit"
  edit v1 blue
  until_answers "v1 blue"
  arrived "v1 serves from blue: it was still warm"
  until_state settled

  step "edit: a broken v3 in green"
  edit v3 green
  until_state held
  answers "v1 blue" || broken "v1 does not serve while v3 is held"
  arrived "v3 is held, v1 serves"

  printf '\n'
  "$QUAYMASTER" status || true
  printf '\n'
  report_load
}

edit() {
  sed -e "s|image: $IMAGE:.*|image: $IMAGE:$1|" -e "s|slot: .*|slot: $2|" "$FILE" >"$FILE.new"
  mv "$FILE.new" "$FILE"
}

report_load() {
  kill -TERM "$LOAD"
  local clean=yes requests failed reconnects
  wait "$LOAD" || clean=no
  LOAD=""
  requests=$(counted requests)
  failed=$(counted failed)
  reconnects=$(counted reconnects)
  if [ "$clean" != yes ] || [ "${failed:-1}" != 0 ] || [ "${requests:-0}" = 0 ]; then
    cat "$DIR/load.json" "$DIR/load.log" >&2
    broken "${failed:-unknown} of ${requests:-unknown} requests failed"
  fi
  printf '  %s, %s %s\n' "$(bold "$requests requests")" "$(green "$failed failed")" \
    "$(dim "($reconnects idle connections were opened again)")"
}

counted() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$DIR/load.json"; }

# --- waiting, always bounded ---------------------------------------------------

until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.02
  done
}

answers() {
  local seen
  seen=$("$DEMO" get "$URL" 2>/dev/null) || return 1
  [[ $seen == "$1 "* ]]
}

until_answers() {
  until_true 60 answers "$1" || broken "no answer of \"$1\" within a minute"
}

has_state() {
  local status
  status=$("$QUAYMASTER" status --json 2>/dev/null | tr -d ' \n') || true
  [[ $status == *"\"services\":["*"\"state\":\"$1\""* ]]
}

until_state() {
  until_true 60 has_state "$1" || broken "the shop is not $1 within a minute"
}

# Something is not as it must be: everything that could tell why, and the end.
broken() {
  printf '\n%s\n' "$(red "$1")" >&2
  "$QUAYMASTER" status >&2 || true
  printf -- '--- the last lines of the controller\n' >&2
  tail -n 40 "$DIR/quaymaster.log" >&2
  exit 1
}

# --- words on the terminal -----------------------------------------------------

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  paint() { printf '\033[%sm%s\033[0m' "$1" "$2"; }
else
  paint() { printf '%s' "$2"; }
fi
bold() { paint 1 "$1"; }
dim() { paint 2 "$1"; }
red() { paint 31 "$1"; }
green() { paint 32 "$1"; }
heading() { printf '\n%s\n' "$(bold "$1")"; }

STEP=0
step() {
  STEP=$((STEP + 1))
  STEP_NAME=$1
  STEP_BEGAN=$(date +%s%3N)
  if [ -t 1 ]; then printf '  %s  %-28s …' "$STEP" "$1"; fi
}

arrived() {
  local took=$(($(date +%s%3N) - STEP_BEGAN))
  if [ -t 1 ]; then printf '\r'; fi
  printf '  %s  %-28s %s  %s\n' "$STEP" "$STEP_NAME" \
    "$(dim "$(printf '%2d.%02d s' $((took / 1000)) $((took % 1000 / 10)))")" "$(green "$1")"
}

# --- the end -------------------------------------------------------------------

LOAD="" CONTROLLER="" CADDY_PID="" DIR=""

clean_up() {
  local status=$?
  trap - EXIT
  remove_everything
  exit "$status"
}

remove_everything() {
  end_process "$LOAD"
  end_process "$CONTROLLER"
  remove_stack
  end_process "$CADDY_PID"
  if [ -n "$DIR" ]; then rm -rf "$DIR"; fi
  if [ -n "$STARTED_DOCKERD" ]; then as_root kill "$STARTED_DOCKERD" 2>/dev/null || true; fi
}

end_process() {
  if [ -z "$1" ] || ! kill -TERM "$1" 2>/dev/null; then return 0; fi
  until_true 15 process_is_gone "$1" || kill -KILL "$1" 2>/dev/null || true
}

# A zombie of ours is gone too: nobody but this script is there to reap it.
process_is_gone() {
  local state
  state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || true
  [ -z "$state" ] || [ "$state" = Z ]
}

# Containers, network and images of this stack; nothing else has these names.
remove_stack() {
  local ids
  ids=$(docker ps --all --quiet --filter "label=quaymaster.stack=$STACK")
  # shellcheck disable=SC2086 # one word an id
  if [ -n "$ids" ]; then docker rm --force --volumes $ids >/dev/null 2>&1 || true; fi
  docker network rm "${STACK}_default" >/dev/null 2>&1 || true
  docker image rm "$IMAGE:v1" "$IMAGE:v2" "$IMAGE:v3" >/dev/null 2>&1 || true
}

keep_running() {
  mkdir -p "$PRIVATE"
  printf '%s\n' "$DIR" "$CONTROLLER" "$CADDY_PID" >"$KEPT"
  disown -a
  cat <<END

  It goes on running. Try:

    curl $URL
    \$EDITOR $FILE
    export QUAYMASTER_SOCKET=$QUAYMASTER_SOCKET QUAYMASTER_STATE_DIR=$QUAYMASTER_STATE_DIR
    $QUAYMASTER status --watch
    $QUAYMASTER history shop

  Its log: $DIR/quaymaster.log
  To end it and remove everything: examples/quickstart/run.sh --stop
END
}

stop_kept() {
  [ -f "$KEPT" ] || fail "nothing that --keep left is running"
  local controller caddy
  { read -r DIR; read -r controller; read -r caddy; } <"$KEPT"
  # A process id may have gone to somebody else since: only ours name the folder.
  if runs_in_folder "$controller"; then CONTROLLER=$controller; fi
  if runs_in_folder "$caddy"; then CADDY_PID=$caddy; fi
  rm -f "$KEPT"
  remove_everything
}

runs_in_folder() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$DIR"; }

main "$@"
