#!/bin/sh
# Installs HAProxy for the tests about replicas behind a proxy; nothing is started. Does nothing where it is there.
# Needs root and apt-get.
set -eu

if command -v haproxy >/dev/null; then
    haproxy -v | head -n 1
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
RUNLEVEL=1 apt-get install -qq --no-install-recommends haproxy >/dev/null
echo 'HAProxy was installed'
