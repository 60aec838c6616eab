#!/bin/sh
# A run from start to end, and one that is aborted, with curl alone.
# Usage: drive.sh BASE_URL KEY FOLDER; each answer goes into FOLDER.
set -eu
base=$1 key=$2 out=$3
api="$base/api/v2/external"

call() { # NAME METHOD PATH [curl options]
    name=$1 method=$2 path=$3
    shift 3
    curl --silent --show-error --fail --request "$method" --header "Authorization: Bearer $key" \
        --output "$out/$name.json" "$@" "$api$path"
}

field() { # NAME FIELD: a text field of an answer
    sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$out/$1.json"
}

call start POST /execution/streaming/start --json '{"code": "for i in range(3): print(i)", "file_name": "drive.py"}'
run=$(field start execution_id)
curl --silent --show-error --fail --no-buffer --request POST "$(field start streaming_url)" > "$out/stream.txt"
call status GET "/execution/streaming/$run/status"
call record GET "/execution/$run"
call logs GET "/logs/execution/$run"

call start_endless POST /execution/streaming/start --json '{"code": "import time; time.sleep(600)"}'
endless=$(field start_endless execution_id)
call abort POST "/workloads/abort/$endless"
curl --silent --show-error --fail --request POST "$(field start_endless streaming_url)" > "$out/aborted.txt"
call aborted GET "/execution/$endless"
