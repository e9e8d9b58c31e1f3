#!/bin/sh
# A program of one's own that tells agentd of its turns: it answers each line, and asks before it "deletes" something.
# While agentd is away, what was not answered is posted again.
tell() { curl -s --retry 1000000 --retry-all-errors --retry-delay 1 --unix-socket "$AGENTD_HOOK" --data-binary "$2" "http://agentd/v1/hook/$1"; }
quoted() { printf %s "$1" | sed 's/["\\]/\\&/g'; }
tell ready '{}'
while printf '> ' && IFS= read -r line; do
	tell started "{\"prompt\": \"$(quoted "$line")\"}"
	case $line in delete*) decision=$(tell permission_asked "{\"text\": \"$(quoted "$line")\"}") ;; *) decision=none ;; esac
	echo "done: $line ($decision)"
	tell ended "{\"final_text\": \"done: $(quoted "$line")\"}"
done
