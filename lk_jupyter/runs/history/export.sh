#!/bin/sh
# $title
# Needs sh, curl and awk, and the key in LK_API_KEY. The output of the run comes on stdout, the rest on stderr.
set -eu
: "$${LK_API_KEY:?set it to your API key}"
base=$base_url
org=$org
nonce=$nonce
api="$$base/api/v2/external"
work=$$(mktemp -d)
trap 'rm -rf "$$work"' EXIT

# What is a secret goes to curl in a file that only you can read, never as an argument.
umask 077
{
    printf 'header = "Authorization: Bearer %s"\n' "$$LK_API_KEY"
    [ -z "$$org" ] || printf 'header = "X-Org-Slug: %s"\n' "$$org"
} >"$$work/auth"
cat >"$$work/request.json" <<'END_OF_REQUEST'
$body
END_OF_REQUEST

call() { curl -sS --fail-with-body --retry 3 -K "$$work/auth" "$$@"; }
field() { sed -n 's/.*"'"$$1"'"[[:space:]]*:[[:space:]]*"\{0,1\}\([^",}]*\).*/\1/p' | head -n 1; }

call --retry 0 -H 'Content-Type: application/json' --data-binary "@$$work/request.json" \
    "$$api$start" >"$$work/started" || { cat "$$work/started" >&2; exit 1; }
id=$$(field execution_id <"$$work/started")
stream=$$(field streaming_url <"$$work/started" | sed 's/\\u0026/\&/g; s/\\//g')
echo "run $$id" >&2
trap 'call -X POST "$$api/workloads/abort/$$id" >&2; exit 130' INT TERM
case $$stream in
    http*) ;;
    *) stream="$$base/api/v1/stream/$$id" ;;
esac
printf 'url = "%s"\n' "$$stream" >"$$work/stream"

# Prints the text of the events. LC_ALL=C: letters are put together byte by byte.
curl -sSN -X POST -H 'Accept: text/event-stream' -K "$$work/stream" | LC_ALL=C awk -v nonce="$$nonce" '
function hex(digits,  i, n) {
    for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    return n
}
function utf8(n) {
    if (n < 128) return sprintf("%c", n)
    if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
    if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
    return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
}
# Returns what the JSON text that begins here says, up to its closing quote.
function text(json,  said, at, sign, n, low) {
    said = ""
    while (at = match(json, /["\\]/)) {
        said = said substr(json, 1, at - 1)
        if (substr(json, at, 1) == "\"") break
        sign = substr(json, at + 1, 1)
        json = substr(json, at + 2)
        if (sign == "u") {
            n = hex(json)
            json = substr(json, 5)
            if (n >= 55296 && n < 56320 && substr(json, 1, 2) == "\\u") {
                low = hex(substr(json, 3))
                json = substr(json, 7)
                n = 65536 + (n - 55296) * 1024 + low - 56320
            }
            said = said utf8(n)
        } else said = said (sign in plain ? plain[sign] : sign)
    }
    return said
}
# Prints what is complete: what the run says to a notebook, between the mark and a BEL, is left out.
function show(new,  at, end) {
    held = held new
    while (nonce != "" && (at = index(held, mark))) {
        printf "%s", substr(held, 1, at - 1)
        held = substr(held, at)
        if (!(end = index(held, "\007"))) return
        held = substr(held, end + 1)
        sub(/^\n/, "", held)
    }
    at = nonce == "" ? 0 : match(held, /\033[^\007]*$$/)
    if (at && index(mark, substr(held, at)) == 1) {
        printf "%s", substr(held, 1, at - 1)
        held = substr(held, at)
    } else {
        printf "%s", held
        held = ""
    }
    fflush()
}
BEGIN {
    plain["n"] = "\n"; plain["t"] = "\t"; plain["r"] = "\r"; plain["b"] = "\b"; plain["f"] = "\f"
    mark = "\033]7411;" nonce ";"
}
/^data:.*"output"/ && match($$0, /"content" *: *"/) { show(text(substr($$0, RSTART + RLENGTH))) }
/^data:.*"jobFinished"/ { exit }
END { printf "%s", held }
' || echo "the stream broke; the whole output is in the record" >&2

tries=0
while [ "$$tries" -lt 600 ]; do
    call "$$api/execution/streaming/$$id/status" >"$$work/status"
    state=$$(field status <"$$work/status")
    case $$state in
        completed | success | failed* | system_failure | aborted | cancelled | timeout | error) break ;;
    esac
    tries=$$((tries + 1))
    sleep 1
done
call "$$api/execution/$$id" >"$$work/record"
billed=$$(field billed <"$$work/record" | LC_ALL=C awk '/[eE]/ { $$0 = sprintf("%.9f", $$0) } { print }')
echo "$$state, $$billed credits" >&2
case $$state in
    completed | success) exit 0 ;;
esac
exit 1
