# shellcheck shell=bash
# Sourced by serve and test: find a Python, make a virtual environment.

# Print the first Python on the path that is new enough.
find_python() {
  local candidate
  for candidate in python3 python python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "aether: needs Python 3.11 or later, and found none; install one (Debian: apt-get install python3)" >&2
  exit 1
}

# Make the virtual environment $1 unless it is there and works.
make_venv() {
  if [ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1; then
    return
  fi
  local python
  python="$(find_python)"
  rm -rf "$1"
  if ! "$python" -m venv "$1" >/dev/null 2>&1; then
    rm -rf "$1"
    echo "aether: $python cannot make virtual environments; install its venv package" >&2
    echo "aether: (Debian and Ubuntu: apt-get install python3-venv)" >&2
    exit 1
  fi
}
