#!/bin/sh
# Makes what docker/compose.yaml needs and is not there yet: keys at random, and a certificate for localhost that browsers will warn of (put
# your own tls.crt and tls.key there instead). Files are world-readable in a folder that only you can enter: the containers run as other users.
set -eu
dir=${1:-"$(dirname "$0")/secrets"}
[ -d "$dir" ] || mkdir -m 700 "$dir"
cd "$dir"
umask 022
make() { [ -e "$1" ] || printf '%s\n' "$2" >"$1"; }
make publish_keys "app:$(openssl rand -hex 24)"
make monitor_key "$(openssl rand -hex 24)"
make auth_jwt_secret "$(openssl rand -hex 32)"
make grafana_password "$(openssl rand -hex 12)"
[ -e tls.crt ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout tls.key -out tls.crt 2>/dev/null
