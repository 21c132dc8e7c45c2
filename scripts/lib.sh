# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the scripts beside this file share. Sourced, never run.

set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
venv=$root/build/venv
# What the tests need beside the build; see scripts/build.
test_packages=(
	e2fsprogs git libcmocka-dev python3-django python3-pytest
	python3-pytest-timeout python3-venv rsync sqlcipher sqlite3 strace
	tcl-dev
)
fuzz_packages=(clang libclang-rt-dev)

message() {
	printf 'replitedfs: %s\n' "$*" >&2
}

# fail EXIT_CODE WHAT [WHY [FIX]]: ends the script, with a code of sysexits(3).
fail() {
	message "$2"
	[ -z "${3:-}" ] || printf 'why: %s\n' "$3" >&2
	[ -z "${4:-}" ] || printf 'fix: %s\n' "$4" >&2
	exit "$1"
}

# lock NAME: holds build/NAME.lock until the script ends.
lock() {
	if ! mkdir -p "$root/build" 2>/dev/null || ! [ -w "$root/build" ]; then
		fail 77 "cannot write to $root/build" "you are $(id -un)" \
			"run this as the owner of the folder"
	fi
	exec 9>"$root/build/$1.lock"
	flock 9
}

# failed_lately FILE: whether FILE, touched by an attempt that failed, is new
# enough for another attempt to be a waste of time.
failed_lately() {
	[ -n "$(find "$1" -mmin -60 2>/dev/null)" ]
}

# need_packages NAME…: installs the Debian packages that are missing. Where
# there is no dpkg the build itself says what it lacks.
need_packages() {
	local have name missing=()

	command -v dpkg-query >/dev/null || return 0
	have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" \
		2>/dev/null) || true
	for name; do
		[[ $'\n'$have$'\n' == *$'\n'"$name installed"$'\n'* ]] ||
			missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$EUID" -eq 0 ] || fail 69 "packages are missing: ${missing[*]}" \
		"only root may install them" \
		"sudo apt-get update && sudo apt-get install -y ${missing[*]}"
	message "installing ${missing[*]}"
	install_packages "${missing[@]}"
}

# The package lists may be missing or stale, but mostly are not: they are
# fetched only when installing without that has failed.
install_packages() {
	local log

	log=$(mktemp)
	if ! apt_install "$@" >"$log" 2>&1; then
		apt_update >>"$log" 2>&1 || true
		if ! apt_install "$@" >>"$log" 2>&1; then
			tail -n 20 "$log" >&2
			rm -f "$log"
			fail 69 "cannot install $*" "apt-get failed, see above" \
				"apt-get update && apt-get install -y $*"
		fi
	fi
	rm -f "$log"
}

# 9 is the lock: no service that a package starts may keep it.
apt_install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-remove \
		--no-install-recommends -o DPkg::Lock::Timeout=120 "$@" \
		</dev/null 9>&-
}

# Fetches the package lists, once in the life of a script.
apt_update() {
	[ -z "${apt_updated:-}" ] || return 0
	apt_updated=1
	apt-get update -o DPkg::Lock::Timeout=120 </dev/null
}

# A current SQLite for Python. The tests that want it skip without.
make_venv() (
	lock venv
	[ ! -e "$venv/.complete" ] || return 0
	! failed_lately "$venv.failed" || return 0
	message "installing apsw into build/venv"
	rm -f "$venv.failed"
	if /usr/bin/python3 -m venv --clear --system-site-packages "$venv" &&
		"$venv/bin/python" -m pip install --quiet --no-input \
			--retries 0 --timeout 10 --only-binary :all: apsw; then
		touch "$venv/.complete"
	else
		message "apsw cannot be had: the tests that need it are skipped"
		touch "$venv.failed"
	fi
)

# The Python that runs tests/integration.
test_python() {
	if [ -e "$venv/.complete" ]; then
		echo "$venv/bin/python"
	else
		echo /usr/bin/python3
	fi
}

# Sets launcher to what a program with sanitizers is started by: the run-time
# libraries of gcc 12 and clang 14 cannot cope with the address randomization of
# newer kernels, which is off where one may.
set_launcher() {
	launcher=()
	! setarch -R true 2>/dev/null || launcher=(setarch -R)
}

# The targets of tests/fuzz, by name.
fuzz_targets() {
	local file

	for file in "$root"/tests/fuzz/fuzz_*.c; do
		file=${file##*/fuzz_}
		echo "${file%.c}"
	done
}

# Builds them into build/fuzz: with clang, libFuzzer and sanitizers.
build_fuzzers() {
	CC=clang REPLITEDFS_TARGET=fuzzers "$root/scripts/build" "$root/build/fuzz" \
		--buildtype=debugoptimized -Doptimization=1 -Dwerror=false -Db_lundef=false \
		-Db_sanitize=address,undefined \
		"-Dc_args=-fsanitize=fuzzer-no-link -gline-tables-only"
}

# fuzz NAME SECONDS FOLDER: runs a target on its corpus. New inputs go to FOLDER,
# one that it fails on to build/fuzz/found.
fuzz() {
	local launcher found=$root/build/fuzz/found

	set_launcher
	mkdir -p "$3" "$found"
	"${launcher[@]}" "$root/build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$2" \
		-timeout=30 -artifact_prefix="$found/$1-" "$3" "$root/tests/fuzz/corpus/$1"
}
