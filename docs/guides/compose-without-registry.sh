#!/bin/sh
# Runs docker-compose.yml on Debian where no image registry can be reached, and no bridge can be
# made: base images are built from Debian's own packages, and all containers share the host's
# network. Needs root, and: apt install docker.io docker-compose debootstrap iptables python3-yaml
#
#   docs/guides/compose-without-registry.sh images   # once: python:3.11-slim and postgres:16
#   docs/guides/compose-without-registry.sh up       # the fleet, in the background
#   docs/guides/compose-without-registry.sh COMMAND  # ps, logs, down, up -d --scale chip=32 ...
#
# WHEELS may name a folder of wheels, such as a build of torch, that pip in the images may use.
# Prometheus and Grafana have no package to stand in for them, so the metrics profile is left out.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${WORK:-/var/tmp/tandemcal-compose}
compose="docker-compose --project-name tandemcal --project-directory $root --file $work/host.yml"

start_engine() {
  docker info >/dev/null 2>&1 && return
  dockerd --iptables=false --bridge=none --storage-driver=overlay2 >"$work/dockerd.log" 2>&1 &
  for _ in $(seq 50); do
    sleep 0.2
    docker info >/dev/null 2>&1 && return
  done
  echo "The engine did not start; see $work/dockerd.log." >&2
  exit 1
}

# The mirror is the one that this machine uses.
mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' | head -n 1
}

build_base() {
  docker image inspect python:3.11-slim >/dev/null 2>&1 && return
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  rm -rf "$work/root"
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
    "$release" "$work/root" "$(mirror)"
  ln -sf python3 "$work/root/usr/bin/python"
  rm -f "$work"/root/usr/lib/python3*/EXTERNALLY-MANAGED
  cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
  if [ -n "${WHEELS:-}" ]; then
    mkdir -p "$work/root/opt/wheels"
    cp "$WHEELS"/*.whl "$work/root/opt/wheels/"
    printf '[global]\nfind-links = /opt/wheels\n' >"$work/root/etc/pip.conf"
  fi
  tar -C "$work/root" -c . | docker import - python:3.11-slim
}

build_postgres() {
  mkdir -p "$work/postgres"
  write_postgres_entrypoint >"$work/postgres/entrypoint.sh"
  chmod +x "$work/postgres/entrypoint.sh"
  cat >"$work/postgres/Dockerfile" <<'END'
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/*
COPY entrypoint.sh /usr/local/bin/
STOPSIGNAL SIGINT
ENTRYPOINT ["entrypoint.sh"]
END
  docker build --network host --tag postgres:16 "$work/postgres"
}

# As much of the official image's as the compose file asks for.
write_postgres_entrypoint() {
  cat <<'END'
#!/bin/sh
set -e
PATH=$(ls -d /usr/lib/postgresql/*/bin):$PATH
: "${PGDATA:=/var/lib/postgresql/data}"
export PGDATA
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
mkdir -p "$PGDATA" /run/postgresql
chown -R postgres: "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  (umask 077 && printf '%s' "$POSTGRES_PASSWORD" >/run/postgresql/password)
  chown postgres /run/postgresql/password
  as_postgres initdb --username "$POSTGRES_USER" --pwfile=/run/postgresql/password \
    --auth=scram-sha-256 --encoding=UTF8 >/dev/null
  rm /run/postgresql/password
  as_postgres pg_ctl --wait --options "-c listen_addresses=" start >/dev/null
  PGPASSWORD=$POSTGRES_PASSWORD as_postgres createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
  as_postgres pg_ctl --wait --mode fast stop >/dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups \
  postgres -c listen_addresses=127.0.0.1 "$@"
END
}

# The parsed compose file, on the host's network: nothing is published, and names are addresses.
write_host_file() {
  docker-compose --project-directory "$root" --file "$root/docker-compose.yml" config |
    python3 -c '
import sys, yaml
found = yaml.safe_load(sys.stdin)
for name, service in list(found["services"].items()):
    if service.pop("profiles", None):
        del found["services"][name]
        continue
    service.pop("ports", None)
    service["network_mode"] = "host"
    if "build" in service:
        service["build"] |= {"network": "host", "args": {"TORCH_INDEX": ""}}
    for key, value in service.get("environment", {}).items():
        for host in ("postgres:5432", "api:8765"):
            value = str(value).replace(host, "127.0.0.1:" + host.partition(":")[2])
        service["environment"][key] = value
found["services"]["chip"].pop("healthcheck")  # no two can have the same port here
chip = found["services"]["chip"]["environment"]
chip |= {"TANDEMCAL_AGENT_HOST": "127.0.0.1", "TANDEMCAL_AGENT_PORT": "0"}
found["services"]["api"]["environment"]["TANDEMCAL_HOST"] = "127.0.0.1"
yaml.safe_dump(found, sys.stdout)
' >"$work/host.yml"
}

mkdir -p "$work"
start_engine
case "${1:-up}" in
images)
  build_base
  build_postgres
  ;;
up)
  write_host_file
  shift || true
  $compose build
  $compose up -d "$@"
  ;;
*)
  write_host_file
  $compose "$@"
  ;;
esac
