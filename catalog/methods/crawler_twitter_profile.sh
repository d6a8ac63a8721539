#!/bin/sh
# The method `crawler_twitter_profile`: replays recorded profiles.
#
# Reads the inputs as one JSON object from standard input, {"username": "rustlang", "limit": 100}, and writes one profile
# for each line to standard output, as NDJSON. `*` as username brings every profile.
#
# Exit codes: 0 done; 1 the recordings cannot be read; 2 the inputs cannot be understood; 3 no recorded profile has the username.
set -eu

recordings=$(dirname -- "$0")/recorded/twitter_profiles.ndjson

# Says why and ends with an exit code.
fail() {
    printf 'crawler_twitter_profile: %s\n' "$2" >&2
    exit "$1"
}

# Between two values JSON may have line breaks anywhere, and within a value it has none.
inputs=$(tr '\n\r\t' '   ')

username=$(printf '%s\n' "$inputs" | sed -n 's/.*"username" *: *"\([A-Za-z0-9_*]\{1,\}\)" *[,}].*/\1/p')
case $username in
    '*') ;;
    '' | *'*'*) fail 2 'the input `username` must be letters, digits and `_`, or `*`' ;;
esac

limit=100
case $inputs in
    *'"limit"'*)
        limit=$(printf '%s\n' "$inputs" | sed -n 's/.*"limit" *: *\([0-9]\{1,\}\) *[,}].*/\1/p')
        if [ -z "$limit" ]; then
            fail 2 'the input `limit` must be a whole number of at least 0'
        fi
        ;;
esac

if [ ! -r "$recordings" ]; then
    fail 1 'the recordings beside the program cannot be read'
fi

# A quote within a value is written \", so the field below cannot be part of one.
awk -v username="$username" -v limit="$limit" '
    BEGIN { wanted = "\"username\":\"" username "\"," }
    username == "*" || index($0, wanted) > 0 {
        found++
        if (found <= limit) print
    }
    END {
        if (!found) {
            printf "crawler_twitter_profile: no recorded profile has the username `%s`\n", username | "cat >&2"
            exit 3
        }
    }
' "$recordings"
