#!/bin/sh
# Creates and upgrades Temporal's two databases; safe to run again at every start.
# Needs: POSTGRES_HOST, POSTGRES_USER, SQL_PASSWORD.
set -eu

tool() {
    database=$1
    shift
    temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_HOST" --port 5432 --user "$POSTGRES_USER" --db "$database" "$@"
}

prepare() {
    tool "$1" create
    tool "$1" setup-schema -v 0.0
    tool "$1" update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

prepare temporal temporal
prepare temporal_visibility visibility
