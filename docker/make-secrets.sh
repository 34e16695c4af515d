#!/bin/sh
# Creates the secrets that the compose files need, unless they exist: random keys, and a certificate
# for localhost. Browsers warn about that certificate; put your own tls.crt and tls.key there
# instead. The files are world-readable, because the containers run as other users; only you can
# enter the folder.
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
