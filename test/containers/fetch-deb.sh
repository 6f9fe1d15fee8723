#!/bin/sh
# Unpacks a package of another Debian release without touching this machine's sources: fetch-deb.sh SUITE PACKAGE FOLDER
set -eu
suite=$1 package=$2 folder=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
site=$(apt-get indextargets --format '$(SITE)' 'Label: Debian' | sort -u | head -1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" > "$scratch/sources.list"
apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$scratch/lists" -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root "$@"
}
apt update
(cd "$scratch" && apt download "$package")
dpkg-deb -x "$scratch/$package"_*.deb "$folder"
