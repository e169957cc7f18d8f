#!/usr/bin/env bash
# Writes an image into a desired-state file, commits and pushes it, and prints the
# commit: what `quaymaster wait --commit` waits for.
#
#   declare-image.sh FILE REGISTRY/NAME:TAG
#
# FILE lies in a clone of the repository that Quaymaster follows. Every service of
# FILE on the image REGISTRY/NAME gets the new tag; nothing else of it changes.
set -euo pipefail

# How often it starts from the newest commit again, when somebody else pushed first.
TRIES=5

main() {
  [ $# = 2 ] || fail "usage: declare-image.sh FILE REGISTRY/NAME:TAG"
  local file=$1 image=$2
  local name=${image%:*} tag=${image##*:}
  [ -f "$file" ] || fail "$file: there is no such file"
  [[ $name =~ ^[a-z0-9][a-z0-9._:/-]*$ && $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] \
    || fail "$image: not an image with a tag"
  cd "$(dirname "$file")"
  file=$(basename "$file")

  local try
  for ((try = 1; try <= TRIES; try++)); do
    edit "$file" "$name" "$tag"
    if git diff --quiet -- "$file"; then
      say "$file declares $image already"
      git rev-parse HEAD
      return
    fi
    git commit --quiet --message "Deploy $image" -- "$file" >&2
    if git push --quiet >&2; then
      git rev-parse HEAD
      return
    fi
    say "somebody else pushed first: starting again from there"
    git fetch --quiet >&2
    git reset --quiet --hard '@{upstream}' >&2
  done
  fail "could not push within $TRIES tries"
}

# Writes tag $3 wherever file $1 has image $2, with a tag or a digest, quoted or not.
edit() {
  local name=${2//./\\.}
  grep --quiet --extended-regexp "image: *[\"']?$name[:@]" "$1" || fail "$1 has no image $2"
  sed --in-place --regexp-extended \
    "s|(image: *[\"']?)$name[:@][A-Za-z0-9._:@-]+|\\1$2:$3|" "$1"
  grep --quiet --extended-regexp "image: *[\"']?$name:${3//./\\.}([^A-Za-z0-9._-]|$)" "$1" \
    || fail "$1: the tag of $2 is a variable; write it out, so that a commit says what runs"
}

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

main "$@"
