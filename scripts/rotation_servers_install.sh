#!/bin/sh
# Installs MariaDB, Redis and RabbitMQ for the tests of the rotators. Nothing is started and no service is enabled: the tests start
# the programs themselves. Does nothing where they are there. Needs root and apt-get.
set -eu

missing=''
command -v mariadbd >/dev/null || missing="$missing mariadb-server"
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v rabbitmq-server >/dev/null || missing="$missing rabbitmq-server"
[ -n "$missing" ] || exit 0

# What a package would start after its installation it must ask this program for; it says no, and is taken away again.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
RUNLEVEL=1 apt-get install -qq --no-install-recommends $missing >/dev/null
for service in mariadb redis-server rabbitmq-server; do
    if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then systemctl disable --now "$service" >/dev/null 2>&1 || true; fi
done
echo "installed:$missing"
