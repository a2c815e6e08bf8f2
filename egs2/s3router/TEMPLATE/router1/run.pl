#!/usr/bin/env bash
# Runs a command on this machine for espnet2.bin.launch, which calls: run.pl [--gpu N …] LOG COMMAND …
# The output goes to LOG; the exit status is the command's.
set -euo pipefail
while [ $# -gt 0 ] && [ "${1#-}" != "$1" ]; do shift 2; done
log=$1
shift
mkdir -p "$(dirname "${log}")"
exec "$@" >>"${log}" 2>&1
