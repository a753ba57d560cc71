#!/bin/sh
# Installs one locked set of packages and the project itself into .venv: scripts/install.sh local|dev
# A stamp keyed on the locks' hash makes every further call a no-op of a few milliseconds.
set -eu
cd "$(dirname "$0")/.."

set_name=${1:-dev}
venv=.venv
stamp_of() { echo "$venv/.installed-$1"; }

say() { echo "install: $*" >&2; }
die() { echo "install: $*" >&2; exit 1; }

case $set_name in
    local | dev | production) ;;
    *) die "unknown set '$set_name'; use local, dev or production" ;;
esac

hash_of() {
    cat "requirements/$1.lock" requirements/build.lock pyproject.toml scripts/install.sh |
        { sha256sum 2>/dev/null || shasum -a 256; } | cut -d' ' -f1
}

is_installed() {
    [ -x "$venv/bin/python" ] && [ -f "$(stamp_of "$1")" ] && [ "$(cat "$(stamp_of "$1")")" = "$(hash_of "$1")" ]
}

# The set `dev` holds everything that `local` does.
is_installed "$set_name" && exit 0
[ "$set_name" = local ] && is_installed dev && exit 0

enough='import sys; sys.exit(sys.version_info < (3, 11))'
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$enough" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

outer_uv=$(command -v uv || true)

if ! "$venv/bin/python" -c "$enough" 2>/dev/null; then
    python=$(find_python)
    [ -n "$python" ] || die "Python 3.11 or newer is needed and none was found. Install it, or name one: PYTHON=/path/to/python3.12 make demo"
    say "creating $venv with $("$python" --version)"
    # Without ensurepip (Debian's python3 without python3-venv), uv can still make one.
    if ! "$python" -m venv --clear "$venv" >/dev/null 2>&1; then
        [ -n "$outer_uv" ] || die "'$python -m venv' does not work here. On Debian and Ubuntu: apt install python3-venv; or install uv."
        "$outer_uv" venv --quiet --clear --python "$python" "$venv"
    fi
fi
rm -f "$venv"/.installed-*

with_uv() {
    "$1" pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps \
        -r requirements/build.lock -r "requirements/$set_name.lock" &&
        "$1" pip install --quiet --python "$venv/bin/python" --no-build-isolation --no-deps --editable .
}

with_pip() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        -r requirements/build.lock -r "requirements/$set_name.lock" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
}

own_uv() {
    [ -x "$venv/bin/uv" ] ||
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
            -r requirements/installer.lock >/dev/null 2>&1 || return 1
    echo "$venv/bin/uv"
}

say "installing the set '$set_name' ($(grep -c '==' "requirements/$set_name.lock") packages, pinned by hash)"
uv=${outer_uv:-$(own_uv || true)}
if [ -n "$uv" ] && with_uv "$uv"; then
    :
else
    # uv reads other settings than pip (indexes, proxies, certificates); where only pip's are set up, pip works.
    [ -z "$uv" ] || say "uv could not install; trying pip"
    with_pip || die "the packages could not be installed; see the message above"
fi
hash_of "$set_name" >"$(stamp_of "$set_name")"
say "done"
