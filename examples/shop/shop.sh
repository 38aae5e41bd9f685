#!/bin/sh
# The example's program, /bin/shop in its image. It needs its secrets and never prints one.
set -eu

fail() {
    echo "shop: $1" >&2
    exit 1
}

# Leave at once when asked to: a shell that is process 1 would otherwise ignore TERM until Docker kills it.
trap 'exit 0' TERM INT

web_healthy() {
    [ -n "${DATABASE_PASSWORD:-}" ] || fail "DATABASE_PASSWORD is not set"
    [ -n "${API_KEY:-}" ] || fail "API_KEY is not set"
}

worker_healthy() {
    [ -s /run/secrets/db_password ] || fail "/run/secrets/db_password is missing or empty"
    [ -s /run/secrets/api-key ] || fail "/run/secrets/api-key is missing or empty"
}

web() {
    web_healthy
    echo "shop: DATABASE_PASSWORD and API_KEY arrived; open on port 8080"
    httpd -f -p 8080 -h /srv &
    wait $!
}

# The files change in place when a secret is rotated. A digest is enough to notice, and it stays in this process.
worker() {
    worker_healthy
    echo "shop: db_password and api-key arrived; waiting for orders"
    seen=$(cat /run/secrets/db_password /run/secrets/api-key | sha256sum)
    while :; do
        sleep 1 &
        wait $!
        # Both are read again if one is being replaced at this moment.
        now=$(cat /run/secrets/db_password /run/secrets/api-key 2>/dev/null | sha256sum)
        if [ "$now" != "$seen" ]; then
            seen=$now
            echo "shop: a secret has a new value; in use from now on"
        fi
    done
}

case "${1:-} ${2:-}" in
    "web ") web ;;
    "worker ") worker ;;
    "web healthy") web_healthy && wget -q -O /dev/null http://127.0.0.1:8080/ ;;
    "worker healthy") worker_healthy ;;
    *) fail "usage: shop web|worker [healthy]" ;;
esac
