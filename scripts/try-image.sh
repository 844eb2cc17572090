#!/usr/bin/env bash
# try-image.sh ENGINE IMAGE [PRIVATE_KEY]: run the machines' image and see that it is what a machine needs.
# Everything is done inside the container, over SSH where a user would, so that no port of this computer is used. The private
# key stays outside: what is written in a container is on the disk.
set -euo pipefail

engine="$1" image="$2" private_key="${3:-}"
work="$(mktemp -d)"
container=""

cleanup() {
  [ -z "$container" ] || "$engine" rm --force "$container" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "try-image: $*" >&2
  [ -z "$container" ] || "$engine" logs "$container" 2>&1 | tail -n 20 | sed 's/^/  log: /' >&2
  exit 1
}

say() { printf '  %-24s %s\n' "$1" "$2" >&2; }

# Run bash inside, as root.
inside() {
  "$engine" exec "$container" timeout 60 bash -euc "$1"
}

# Wait for the SSH server's first line.
await_banner() {
  # shellcheck disable=SC2016
  inside 'until read -r line </dev/tcp/127.0.0.1/2222; do sleep 0.02; done 2>/dev/null; echo "$line"' ||
    fail "its SSH server does not answer on port 2222"
}

# Start the SSH server once more, on another port, and print how long it takes to answer. (From outside, the engine's
# own time would be most of it.)
time_to_banner() {
  # shellcheck disable=SC2016
  inside 'start="${EPOCHREALTIME/[.,]/}"
    aether-sshd -p 2223 2>/dev/null &
    until read -r line </dev/tcp/127.0.0.1/2223; do sleep 0.001; done 2>/dev/null
    end="${EPOCHREALTIME/[.,]/}"
    kill "$!" && wait "$!"
    echo "$(((end - start) / 1000)) ms"' || fail "its SSH server does not start a second time, or does not end well"
}

# Run a command as a user does: over SSH, with the key the machine was created with.
login() {
  "$engine" exec "$container" ssh -F none -p 2222 -i /root/host_key -o BatchMode=yes -o LogLevel=ERROR \
    -o StrictHostKeyChecking=accept-new coder@127.0.0.1 "$1"
}

# check NAME COMMAND PATTERN: a command's output, errors included, must match an extended regular expression.
check() {
  local output
  output="$(login "$2" 2>&1)" || fail "$1: \`$2\` failed: $output"
  grep -qE -- "$3" <<<"$output" || fail "$1: \`$2\` printed $output, not $3"
  say "$1" "$(head -n 1 <<<"$output" | cut -c 1-80)"
}

baked="$("$engine" run --rm --user root --entrypoint /bin/sh "$image" -c \
  'ls /etc/ssh/ssh_host_* 2>/dev/null; grep -vE "^[^:]+:[*!]+:" /etc/shadow; ls -A /root/.ssh /home/coder/.ssh 2>/dev/null | grep -E "^id_"; true')"
[ -z "$baked" ] || fail "a host key, a password or a private key is in it: $baked"

ssh-keygen -q -t ed25519 -N '' -C try-image -f "$work/key"
container="aether-try-$$-$RANDOM" # known before it is made, so that it is removed whenever this is interrupted
"$engine" create --name "$container" "$image" >/dev/null
"$engine" cp "$work/key.pub" "$container:/etc/ssh/authorized_keys.d/coder"
"$engine" cp "$work/key" "$container:/root/host_key"
"$engine" start "$container" >/dev/null
banner="$(await_banner)"
say "sshd answers" "$banner"
"$engine" exec "$container" chown 0:0 /root/host_key /etc/ssh/authorized_keys.d/coder

took="$(time_to_banner)"
say "from start to banner" "$took"
check "login with the key" 'id' '^uid=1000\(coder\)'
check "prompt" "bash -ic 'printf %s\\\\n \"\${PS1@P}\"' 2>/dev/null" '^coder@aether:~\$ $'
check "locale" 'locale charmap' '^UTF-8$'
check "node" 'node --version' '^v20\.'
check "npm" 'npm --version' '^[0-9]+\.'
check "pnpm" 'pnpm --version' '^[0-9]+\.'
check "python3" 'python3 --version' '^Python 3\.11\.[0-9]+$'
check "python" 'python --version' '^Python 3\.11\.[0-9]+$'
check "python's libraries" 'python3 -c "
import _uuid, bz2, ctypes, curses, dbm.gnu, lzma, readline, sqlite3, ssl, zlib, zoneinfo
print(zoneinfo.ZoneInfo(\"Europe/Berlin\"), sqlite3.sqlite_version, ssl.OPENSSL_VERSION)"' 'OpenSSL 3'
# shellcheck disable=SC2016
check "python and C" 'cd /tmp && gcc -shared -fPIC $(python3-config --cflags) -x c -o seven.so - <<<"
#include <Python.h>
static struct PyModuleDef seven = {PyModuleDef_HEAD_INIT, .m_name = \"seven\"};
PyMODINIT_FUNC PyInit_seven(void) { return PyModule_Create(&seven); }" &&
python3 -c "import seven; print(seven)"' "^<module 'seven'"
check "PTY host" 'python3 -c "import ast, sys; ast.parse(open(sys.argv[1]).read()); print(sys.argv[1])" /usr/local/lib/aether/pty-host-*.py' '/pty-host-[0-9a-f]{8}\.py$'
check "pip" 'pip --version && pip3 --version' 'python 3\.11\)'
check "venv" 'python3 -m venv /tmp/venv && /tmp/venv/bin/pip --version' 'python 3\.11\)'
check "go" 'go version' 'go1\.21\.'
check "git" 'git --version' '^git version'
check "gcc" 'echo "int main(void) { return 7; }" | gcc -x c -o /tmp/a - && { /tmp/a; echo $?; }' '^7$'
check "make" 'make --version' '^GNU Make'
for tool in curl wget less htop tmux vim; do
  check "$tool" "command -v $tool" "/$tool\$"
done
check "sudo" 'sudo -n id -u' '^0$'

if [ -n "$private_key" ]; then
  relay="exec 3<>/dev/tcp/127.0.0.1/2222; cat <&3 & exec cat >&3"
  "$engine" exec "$container" rm /etc/ssh/authorized_keys.d/coder
  ssh -F none -i "$private_key" -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o LogLevel=ERROR \
    -o StrictHostKeyChecking=accept-new -o "UserKnownHostsFile=\"$work/known_hosts\"" -o ForwardAgent=no \
    -o "ProxyCommand=$(printf '%q ' "$engine" exec -i "$container" bash -c "$relay")" coder@machine true </dev/null ||
    fail "the key that was built in does not log in"
  say "login with the image's" "key in authorized_keys"
  "$engine" cp "$work/key.pub" "$container:/etc/ssh/authorized_keys.d/coder"
  "$engine" exec "$container" chown 0:0 /etc/ssh/authorized_keys.d/coder
fi

login 'echo kept >file && sudo sh -c "echo kept >/etc/file"' || fail "files cannot be written"
"$engine" stop -t 10 "$container" >/dev/null
status="$("$engine" inspect --format '{{.State.ExitCode}}' "$container")"
[ "$status" = 0 ] || fail "SIGTERM ended it with status $status, not 0"
"$engine" start "$container" >/dev/null
await_banner >/dev/null
# The host key is known from before: another one would be refused here.
check "files after a restart" 'cat file /etc/file' '^kept$'
