#!/bin/sh
# Runs once, when the data directory is new: the role that Overseer logs in as, and its database. CREATEROLE lets it make
# overseer_service, under which it works. The password is read by psql and stands in no argument.
set -eu
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc --quiet <<'SQL'
\set password `cat "${OVERSEER_PASSWORD_FILE:-/run/secrets/overseer-password}"`
CREATE ROLE overseer LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE overseer OWNER overseer ENCODING 'UTF8' TEMPLATE template0;
SQL
