#!/bin/sh
# Installs Debian's Chromium for the tests of the web pages. Does nothing where there is one. Needs root and apt-get.
set -eu

if command -v chromium >/dev/null; then
    echo "Chromium is installed"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
echo 'Chromium was installed'
