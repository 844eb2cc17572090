# shellcheck shell=sh
# The environment of a login, whichever way it begins: read by /etc/profile and /etc/bash.bashrc.

# Once a login: what the user changes in it since then is not changed back by a shell within.
if [ -z "${AETHER_LOGIN-}" ]; then
  export AETHER_LOGIN=1
  # shellcheck source=/dev/null
  [ ! -r /run/aether/environment ] || . /run/aether/environment
  export LANG="${LANG:-C.UTF-8}"
fi
case ":$PATH:" in
  *:/usr/local/go/bin:*) ;;
  *) export PATH="$HOME/.local/bin:$HOME/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ;;
esac
