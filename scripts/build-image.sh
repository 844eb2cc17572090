#!/usr/bin/env bash
# Build the machines' image, try it, and push it if asked.
set -euo pipefail
here="$PWD"
CDPATH='' cd "$(dirname "$0")/.."

context=infra/images/base
registry=registry.fly.io
limit=2000000000 # bytes; the PRD's 2 GB

usage() {
  cat <<END
Usage: FLY_APP_NAME=my-machines AETHER_SSH_PRIVATE_KEY_FILE=aether_key scripts/build-image.sh [options] [-- build options]

Builds infra/images/base, tags it $registry/APP/base:latest and by its content, runs it, logs in to it, tries every tool,
restarts it, and fails if anything is amiss or the image is not below 2 GB.

  --push               push both tags at the end
  --app APP            the Fly app that holds the machines (FLY_APP_NAME); with \`local\` the emulator finds the image
  --public-key FILE    the public key that opens the machines; else the public half of AETHER_SSH_PRIVATE_KEY_FILE
  --no-key             no key in the image: machines get it when they are created
  --engine ENGINE      docker or podman; else whichever of the two works
  --platform PLATFORM  what the machines run on (linux/amd64, as Fly's do)
  --no-try             do not run the image
  --help               this text

Options behind -- go to the engine's build command, such as --network host or the Dockerfile's mirrors:
--build-arg BASE_IMAGE=… APT_MIRROR=… PYTHON_MIRROR=… NODE_MIRROR=… GO_MIRROR=… NPM_REGISTRY=…
END
}

say() { echo "build-image: $*" >&2; }
die() {
  say "$*"
  exit 1
}

app="${FLY_APP_NAME:-}" engine="" platform=linux/amd64 public_key="" wants_key=true wants_push=false wants_try=true
while [ "$#" -gt 0 ]; do
  case "$1" in
    --push) wants_push=true ;;
    --no-key) wants_key=false ;;
    --no-try) wants_try=false ;;
    --app | --engine | --platform | --public-key)
      [ "$#" -gt 1 ] || die "$1 needs a value; --help has them all"
      case "$1" in
        --app) app="$2" ;;
        --engine) engine="$2" ;;
        --platform) platform="$2" ;;
        --public-key) public_key="$2" ;;
      esac
      shift
      ;;
    --help | -h)
      usage
      exit
      ;;
    --)
      shift
      break
      ;;
    *) die "unknown option $1; --help has them all" ;;
  esac
  shift
done

# Print the first container engine that works.
find_engine() {
  local candidate found=""
  for candidate in ${engine:-docker podman}; do
    if command -v "$candidate" >/dev/null; then
      found="$found $candidate"
      if "$candidate" info >/dev/null 2>&1; then
        echo "$candidate"
        return
      fi
    fi
  done
  [ -z "$found" ] || die "installed, but not working:$found (is its service running? try: ${found##* } info)"
  die "no container engine: install ${engine:-docker or podman}"
}

# Paths are from where the user is.
absolute() { [[ "$1" = /* ]] && echo "$1" || echo "$here/$1"; }

# Print the public key, one line; nothing with --no-key. (ssh-keygen takes a private key for a public one.)
find_key() {
  "$wants_key" || return 0
  local line
  if [ -n "$public_key" ]; then
    line="$(grep -vE '^[[:space:]]*(#|$)' "$public_key" 2>/dev/null | head -n 1)" || true
    { [[ "$line" != -----* ]] && ssh-keygen -l -f - <<<"$line" >/dev/null 2>&1; } || die "$public_key is not a public SSH key"
    echo "$line"
  elif [ -n "$private_key" ]; then
    ssh-keygen -y -P '' -f "$private_key" 2>/dev/null ||
      die "AETHER_SSH_PRIVATE_KEY_FILE=$private_key is not a private key without a passphrase that only you can read"
  else
    die "no key: set AETHER_SSH_PRIVATE_KEY_FILE (make one with: ssh-keygen -t ed25519 -N '' -f aether_key), or choose --no-key"
  fi
}

# Fail early where a push would fail late.
check_login() {
  local config="${DOCKER_CONFIG:-${HOME:-}/.docker}/config.json"
  case "$engine" in
    podman) podman login --get-login "$registry" >/dev/null 2>&1 && return ;;
    *) grep -q "\"$registry\"" "$config" 2>/dev/null && return ;;
  esac
  die "$engine is not logged in to $registry: run \`flyctl auth docker\`, or $engine login $registry"
}

# Print a name for what the image is made of: its files, the key, and the build options.
content() {
  {
    (cd "$context" && find . -type f | LC_ALL=C sort | while read -r file; do cksum "$file" && cat "$file"; done)
    printf '%s\n' "$platform" "$@"
  } | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c 1-12
}

# Print how many bytes the image takes on a machine. With docker that is the sum of its layers: where containerd keeps the
# images, `image inspect` says their compressed size, or both together. podman's `history` rounds, even where it calls
# itself docker, and its older versions leave layers out.
image_size() {
  case "$("$engine" --version 2>/dev/null)" in
    podman*) "$engine" image inspect --format '{{.Size}}' "$latest" ;;
    *) "$engine" history --human=false --format '{{.Size}}' "$latest" | awk '{ sum += $1 } END { printf "%.0f\n", sum }' ;;
  esac
}

private_key="${AETHER_SSH_PRIVATE_KEY_FILE:+$(absolute "${AETHER_SSH_PRIVATE_KEY_FILE:-}")}"
public_key="${public_key:+$(absolute "$public_key")}"
command -v ssh-keygen >/dev/null || die "no ssh-keygen: install OpenSSH's client"
[ -n "$app" ] || die "no app: set FLY_APP_NAME to the Fly app that holds the machines, or --app local for the emulator"
engine="$(find_engine)"
key="$(find_key)"
! "$wants_push" || check_login

latest="$registry/$app/base:latest"
by_content="$registry/$app/base:$(content "$key" "$@")"
revision="$(git rev-parse --short HEAD 2>/dev/null || true)"

say "building $latest with $engine"
# Without the attestations that buildx adds: then the tag is the image itself, and what was tried is what is pushed.
DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 "$engine" build \
  --platform "$platform" --tag "$latest" --tag "$by_content" --build-arg "AUTHORIZED_KEY=$key" \
  --build-arg "VERSION=${by_content##*:}" --build-arg "REVISION=$revision" "$@" "$context" ||
  die "the build failed; what it printed says where"

size="$(image_size)"
say "$((size / 1000000)) MB, by layer:"
"$engine" history --no-trunc --format '{{.Size}}	{{.CreatedBy}}' "$latest" |
  awk -F '\t' '$1 !~ /^0 ?B$/ { gsub(/[[:space:]]+/, " ", $2); printf "  %9s  %s\n", $1, substr($2, 1, 100) }' >&2
[ "$size" -lt "$limit" ] || die "the image has $size bytes, and must have fewer than $limit"

if "$wants_try"; then
  if [ -z "$key" ] || [ -n "$public_key" ]; then private_key=""; fi
  scripts/try-image.sh "$engine" "$latest" "$private_key" || die "the image does not do what it must; it was not pushed"
fi

if "$wants_push"; then
  for tag in "$by_content" "$latest"; do
    "$engine" push "$tag" || die "$tag could not be pushed. If the registry does not know the repository $app/base (\"name unknown\"): \
the app must exist (flyctl apps create $app; a new one may take some minutes), and your log-in's token be of its organisation. \
If it does not know you: its log-in ends after five minutes (flyctl auth docker)"
  done
  say "pushed $by_content"
fi
say "done: $latest is $by_content"
