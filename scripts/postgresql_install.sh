#!/bin/sh
# Installs PostgreSQL's server programs for the tests about TLS and SCRAM (the wheel's build has no TLS).
# No cluster is made and nothing is started. Does nothing where PostgreSQL 15 or later is there. Needs root and apt-get.
set -eu

for programs in /usr/lib/postgresql/*/bin; do
    version=${programs#/usr/lib/postgresql/}
    version=${version%/bin}
    if [ "$version" != '*' ] && [ "$version" -ge 15 ] && [ -x "$programs/initdb" ]; then
        echo "PostgreSQL $version is installed"
        exit 0
    fi
done

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --no-install-recommends postgresql-common >/dev/null
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/overseer-tests.conf
apt-get install -qq --no-install-recommends postgresql >/dev/null
echo 'PostgreSQL was installed, without a cluster'
