#!/usr/bin/env bash
# A git remote without logins, in the foreground, for a network that nobody else reaches. Where anybody else does,
# use ssh or a site such as GitLab or GitHub instead: experiments are ordinary references.
#   STATE          folder; default ./state. A bare repository, $STATE/git/condgen.git, is made if there is none.
#   LISTEN         address; default 127.0.0.1
set -euo pipefail
state=$(realpath -m "${STATE:-state}")
[[ -d $state/git/condgen.git ]] || git init --quiet --bare --initial-branch=main "$state/git/condgen.git"
exec git daemon --reuseaddr --base-path="$state/git" --export-all --enable=receive-pack --listen="${LISTEN:-127.0.0.1}"
