# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# Builds what comes with SQLite's source, for the scripts beside this file, which
# are run on their own. Sourced, never run.
#
# The source is this release's source package. It comes from the mirror this
# machine uses already, is checked against Debian's keys, and is fetched with lists
# and a cache of our own.

# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# build_from_sqlite NAME: makes build/NAME, unless it is there, by the function
# compile, which runs in a folder of its own that has the source in source/. Exits
# with 69 where that fails, or has failed in the last hour.
build_from_sqlite() {
	local name=$1 status

	lock "$name"
	[ ! -e "$root/build/$name" ] || return 0
	! failed_lately "$root/build/$name.failed" ||
		fail 69 "$name could not be built lately"
	work=$(mktemp -d "$root/build/$name.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	set +e
	(set -e; cd "$work"; fetch_sqlite; compile) >"$work/log" 2>&1
	status=$?
	set -e
	rm -f "$root/build/$name.failed"
	[ "$status" -ne 0 ] || return 0
	touch "$root/build/$name.failed"
	fail 69 "cannot build $name" "$(tail -n 1 "$work/log")"
}

fetch_sqlite() {
	write_apt_config
	apt-get -q -c apt.conf update </dev/null
	apt-get -q -c apt.conf source --download-only sqlite3 </dev/null
	mkdir source
	tar --extract --file sqlite3_*.orig.tar.* --directory source --strip-components 1
}

write_apt_config() {
	local codename mirror

	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	# shellcheck disable=SC2016 # apt expands these
	mirror=$(apt-get indextargets \
		--format '$(ORIGIN)|$(LABEL)|$(CODENAME)|$(COMPONENT)|$(SITE)' |
		grep "^Debian|Debian|$codename|main|" | cut -d '|' -f 5 |
		sort -u | head -n 1) || true
	if [ -z "$mirror" ]; then
		echo "apt knows no mirror of a Debian release here"
		return 1
	fi
	mkdir -p lists/partial cache/archives/partial
	echo "deb-src [signed-by=$keyring] $mirror $codename main" >sources.list
	cat >apt.conf <<-END
		Dir::State::lists "$work/lists";
		Dir::Cache "$work/cache";
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "-";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		APT::Update::Error-Mode "any";
		APT::Sandbox::User "root";
		Acquire::Retries "1";
		Acquire::http::Timeout "20";
		Acquire::https::Timeout "20";
	END
}
