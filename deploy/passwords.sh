#!/bin/sh
# Writes random passwords for docker-compose.yml to .env, where they are missing:
#   sh deploy/passwords.sh
# Change them there at any time before the first start. Where a value holds a `$`, put it between
# single quotes.
set -eu
umask 077
file=$(dirname "$0")/../.env
touch "$file"
for name in POSTGRES_PASSWORD TANDEMCAL_JOIN_KEY GRAFANA_PASSWORD; do
  grep -q "^$name=" "$file" ||
    printf '%s=%s\n' "$name" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>"$file"
done
