#!/usr/bin/env bash
# Deploy aether to Fly: the first time and every time after. What is there already is left as it is, so a run that failed
# half-way is simply run again.
set -euo pipefail
here="$PWD"
CDPATH='' cd "$(dirname "$0")/.."
# shellcheck source=scripts/python.sh
. scripts/python.sh

usage() {
  cat <<'TEXT'
Usage: FLY_APP_NAME=my-machines ./scripts/deploy.sh [--server my-server] [options]

Makes the Fly app that holds the users' machines, its address and its image; with --server also the app that runs aether's
server. Then it creates a machine, runs a command in its terminal and destroys it.

  --server APP       run aether's server on Fly, in this app; without it you run the server yourself
  --org ORG          Fly organisation of new apps (FLY_ORG, or personal)
  --address v6|v4    public address of the machines: a free IPv6, or, for a server whose host has no IPv6, a dedicated IPv4,
                     which Fly bills (v6)
  --new-token        give the server a new Fly token; its old one goes on until you revoke it (flyctl tokens list, revoke)
  --no-smoke-test    do not try it out at the end
  --dry-run          print every command; run only those that change nothing
  --help

Environment: FLY_APP_NAME, FLY_REGION, AETHER_SSH_NETWORK (public or private) as in the README;
  AETHER_SSH_PRIVATE_KEY_FILE  the key that opens the machines; unset: made once in the state folder
  AETHER_PASSWORD_FILE         the password of the server's log-in; unset: made once in the state folder
  AETHER_DEPLOY_DIR            the state folder (~/.local/state/aether/deploy); keep it, Fly shows no secret again
To change AETHER_SSH_NETWORK later, name another app for the machines: Fly gives an app its private network when it is made.
TEXT
}

say() { echo "deploy: $*" >&2; }

die() {
  say "$@"
  exit 1
}

# --- What is wanted ---------------------------------------------------------------------------------------------------

machines="${FLY_APP_NAME:-}" server="" org="${FLY_ORG:-personal}" address=v6 network="${AETHER_SSH_NETWORK:-public}"
new_token=false smoke=true dry=false
while [ "$#" -gt 0 ]; do
  case "$1" in
    --server | --org | --address)
      [[ "${2:--}" != -* ]] || die "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift
      ;;
    --new-token) new_token=true ;;
    --no-smoke-test) smoke=false ;;
    --dry-run) dry=true ;;
    --help)
      usage
      exit
      ;;
    *) die "$1 is no option; see --help" ;;
  esac
  shift
done
[ -n "$machines" ] || die "FLY_APP_NAME is not set: name the Fly app that is to hold the users' machines"
[ "$machines" != "$server" ] || die "--server must be another app than FLY_APP_NAME: an app's machines see all its secrets"
case "$network" in public | private) ;; *) die "AETHER_SSH_NETWORK=$network: choose public or private" ;; esac
case "$address" in v4 | v6) ;; *) die "--address $address: choose v6 or v4" ;; esac
absolute() { [[ "$1" = /* ]] && echo "$1" || echo "$here/$1"; }
state="$(absolute "${AETHER_DEPLOY_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/aether/deploy}")"
key="$(absolute "${AETHER_SSH_PRIVATE_KEY_FILE:-$state/$machines.key}")"
password="$(absolute "${AETHER_PASSWORD_FILE:-$state/$server.password}")"
python="$(find_python)"

# --- How things are done ----------------------------------------------------------------------------------------------

show() { printf '+%s\n' "$(printf ' %q' "$@")${note:+   $note}" >&2; }

# Run a command that only looks.
look() {
  show "$@"
  "$@"
}

# Run a command that changes something.
change() {
  show "$@"
  "$dry" || "$@" || die "that failed. What was done before it stays; mend it and run this again." \
    "${FLY_API_TOKEN:+(FLY_API_TOKEN is set: a deploy token of one app is not enough here; unset it to use your log-in)}"
}

# Make the folder of a file with a secret.
made=""
keep_folder() {
  local folder
  folder="$(dirname "$1")"
  [ -d "$folder" ] || [ "$folder" = "$made" ] || (umask 077 && change mkdir -p "$folder")
  made="$folder"
}

# Print `field` of each object in the JSON array on stdin, one a line. flyctl's versions spell fields "Name" or "name".
each() {
  "$python" -I -c '
import json, sys
for item in json.load(sys.stdin) or []:
    print({key.lower(): value for key, value in item.items()}[sys.argv[1]])' "$1"
}

has() { grep -qxF -- "$2" <<<"$1"; }

# --- Is everything there? ---------------------------------------------------------------------------------------------

command -v flyctl >/dev/null || die "flyctl is not installed; see https://fly.io/docs/flyctl/install/"
command -v ssh-keygen >/dev/null || die "ssh-keygen is not installed (Debian and Ubuntu: apt-get install openssh-client)"
look flyctl auth whoami >&2 || die "you are not logged in to Fly; run: flyctl auth login"

apps="$(look flyctl apps list --json | each name)" || die "flyctl could not list your apps"
addresses="" secrets=""
if has "$apps" "$machines"; then
  addresses="$(look flyctl ips list --app "$machines" --json | each type)" ||
    die "flyctl could not list the addresses of $machines"
fi
if [ -n "$server" ] && has "$apps" "$server"; then
  secrets="$(look flyctl secrets list --app "$server" --json | each name)" ||
    die "flyctl could not list the secrets' names of $server"
fi

if [ ! -f "$key" ]; then
  there=""
  ! has "$apps" "$machines" || there="$(look flyctl machine list --app "$machines" --json | each id)" ||
    die "flyctl could not list the machines of $machines"
  if [ -n "$there" ] || has "$secrets" AETHER_SSH_PRIVATE_KEY; then
    die "$key is not here, and the machines of $machines open to no other: bring it, or name it in AETHER_SSH_PRIVATE_KEY_FILE"
  fi
  keep_folder "$key"
  change ssh-keygen -q -t ed25519 -N "" -C aether -f "$key"
fi

# --- The app that holds the machines ----------------------------------------------------------------------------------

# Users are root in their machines, and one private network is flat. Machines that are reached over a public address get a
# network of their own; with AETHER_SSH_NETWORK=private they must share the server's.
if ! has "$apps" "$machines"; then
  own=()
  [ "$network" = private ] || own=(--network "$machines")
  change flyctl apps create "$machines" --org "$org" ${own[@]+"${own[@]}"}
fi

# SSH is raw TCP, which a shared IPv4 address does not carry.
if [ "$network" = public ] && ! has "$addresses" v4 && { [ "$address" = v4 ] || ! has "$addresses" v6; }; then
  if [ "$address" = v4 ]; then
    change flyctl ips allocate-v4 --app "$machines" --yes
  else
    change flyctl ips allocate-v6 --app "$machines"
  fi
fi

# flyctl's registry log-in is good for five minutes, and a first build takes longer: build, log in, push what is built.
build=(env "FLY_APP_NAME=$machines" "AETHER_SSH_PRIVATE_KEY_FILE=$key" ./scripts/build-image.sh)
change "${build[@]}"
change flyctl auth docker
change "${build[@]}" --no-try --push

# --- The server -------------------------------------------------------------------------------------------------------

# Print the line of the log-in, for nginx. One hash is enough for a password that no dictionary has.
login() {
  "$python" -I -c '
import base64, hashlib, pathlib, secrets, sys
password, salt = pathlib.Path(sys.argv[1]).read_text().strip().encode(), secrets.token_bytes(16)
if len(password) < 20:
    sys.exit(f"deploy: the password in {sys.argv[1]} is short: it needs 20 characters")
print("aether:{SSHA}" + base64.b64encode(hashlib.sha1(password + salt).digest() + salt).decode())' "$password"
}

# Print the server's secrets as `flyctl secrets import` reads them. The token opens the machines' app and nothing else. It is the
# server's, and never goes into the machines' app, whose secrets every user can read.
server_secrets() {
  local line
  printf 'AETHER_SSH_PRIVATE_KEY="""%s\n"""\n' "$(cat "$key")"
  if [ -f "$password" ]; then
    line="$(login)" || return
    printf 'AETHER_LOGIN=%s\n' "$line"
  fi
  if "$needs_token"; then
    line="$(flyctl "${token_command[@]}")" || return
    printf 'AETHER_FLY_API_TOKEN=%s\n' "$line"
  fi
}

# Hand the secrets over through a pipe: a command line is readable by every user of a computer.
import_secrets() {
  local all
  all="$(server_secrets)" && printf '%s\n' "$all" | flyctl secrets import --app "$server" --stage
}

# The server's settings that are not secret, as flags of `flyctl deploy`.
settings() {
  local name
  for name in AETHER_DEPLOYMENT AETHER_IMAGE AETHER_CPU_KIND AETHER_CPUS AETHER_MEMORY_MB AETHER_ROOTFS_GB AETHER_MAX_MACHINES \
    AETHER_MAX_SESSIONS AETHER_SESSIONS AETHER_DETACH_GRACE_S AETHER_MAX_DETACHED AETHER_SSH_USER AETHER_SSH_HOST AETHER_SSH_PORTS \
    AETHER_IDLE_TIMEOUT_S AETHER_IDLE_CHECK_S AETHER_COMPRESSION; do
    [ -z "${!name:-}" ] || printf '%s\0' --env "$name=${!name}"
  done
  printf '%s\0' --env "AETHER_FLY_APP_NAME=$machines" --env "AETHER_SSH_NETWORK=$network"
  printf '%s\0' --env "AETHER_ALLOWED_ORIGINS=http://$server.internal:8080"
  [ -z "${FLY_REGION:-}" ] || printf '%s\0' --env "AETHER_FLY_REGION=$FLY_REGION" --region "$FLY_REGION"
}

if [ -n "$server" ]; then
  has "$apps" "$server" || change flyctl apps create "$server" --org "$org"
  if [ ! -f "$password" ] && ! has "$secrets" AETHER_LOGIN; then
    keep_folder "$password"
    note="(a new password)" change "$python" -I -c 'import os, secrets, sys
os.write(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), secrets.token_urlsafe(24).encode())' "$password"
  fi
  needs_token=true token_command=(tokens create deploy --app "$machines" --name "aether server $server" --expiry 8760h)
  "$new_token" || ! has "$secrets" AETHER_FLY_API_TOKEN || needs_token=false
  ! "$needs_token" || note="(into the next)" show flyctl "${token_command[@]}"
  note="(stdin: SSH key, log-in, token)" show flyctl secrets import --app "$server" --stage
  "$dry" || import_secrets || die "the secrets could not be set. What was done before stays; mend it and run this again." \
    "$(! "$needs_token" || echo "A token may have been made all the same, which the next run does not use: look for" \
      "\"aether server $server\" in \`flyctl tokens list --app $machines\`, and end it with \`flyctl tokens revoke ID\`.")"
  flags=()
  while IFS= read -r -d '' flag; do flags+=("$flag"); done < <(settings)
  # --ha=false: one machine; Fly would make a spare one.
  change flyctl deploy . --app "$server" --config infra/fly.toml --dockerfile infra/server/Dockerfile \
    --ignorefile infra/server/Dockerfile.dockerignore --ha=false --no-public-ips --yes "${flags[@]}"
fi

# --- Does it work? ----------------------------------------------------------------------------------------------------

smoke_test() {
  if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import tornado' 2>/dev/null; then
    make_venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable .
  fi
  if [ -z "$server" ]; then
    local token
    token="$(flyctl tokens create deploy --app "$machines" --name "aether smoke test" --expiry 1h)" || return
    FLY_API_TOKEN="$token" AETHER_SSH_PRIVATE_KEY_FILE="$key" .venv/bin/python scripts/smoke.py
    return
  fi
  set -m # in a process group of its own, out of Ctrl-C's reach: the machine is destroyed through it
  flyctl proxy "$port:8080" --app "$server" </dev/null >&2 &
  proxy=$!
  set +m
  trap 'kill "$proxy" 2>/dev/null || true' EXIT
  trap 'exit 1' HUP TERM # when the next has ended, and not before
  .venv/bin/python scripts/smoke.py --url "http://localhost:$port" --password-file "$password"
}

if ! "$smoke"; then
  say "not tried out, as you asked"
elif [ -n "$server" ] && [ ! -f "$password" ] && ! "$dry"; then
  say "not tried out: $password is not on this computer"
elif [ -z "$server" ] && [ "$network" = private ]; then
  say "not tried out: the machines are on Fly's private network, and the server is not"
else
  port="$("$python" -I -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  if [ -n "$server" ]; then
    show flyctl proxy "$port:8080" --app "$server"
    show .venv/bin/python scripts/smoke.py --url "http://localhost:$port" --password-file "$password"
  else
    note="(for the smoke test only)" show flyctl tokens create deploy --app "$machines" --name "aether smoke test" --expiry 1h
    show .venv/bin/python scripts/smoke.py
  fi
  "$dry" || smoke_test || die "it is deployed, but the smoke test failed; the server's log: flyctl logs --app ${server:-$machines}"
fi

# --- How to reach it --------------------------------------------------------------------------------------------------

! "$dry" || say "nothing was changed: this was a dry run. Afterwards:"
if [ -n "$server" ]; then
  cat <<TEXT
aether runs in the Fly app $server, on Fly's private network: it is not on the internet. To reach it:

    flyctl proxy 8080:8080 --app $server
    open http://localhost:8080/   as user aether, with the password in $password

From a WireGuard peer of yours (flyctl wireguard create) it is http://$server.internal:8080/
Its token is good for a year; --new-token gives it another one.
TEXT
else
  cat <<TEXT
The Fly app $machines is ready for machines. Start the server, with a token for just that app:

    export FLY_API_TOKEN="\$(flyctl tokens create deploy --app $machines --expiry 8760h)"
    FLY_APP_NAME=$machines AETHER_SSH_NETWORK=$network AETHER_SSH_PRIVATE_KEY_FILE=$(printf %q "$key") ./scripts/serve
TEXT
fi
