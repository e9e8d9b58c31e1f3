#!/bin/sh
# Stands in for a coding agent where there is no API key: what supervision looks like does not depend on the model.
# Usage: scripted_agent.sh work|finish|crash|ask [PROMPT]
role=$1
prompt=${2:-}

pause() {
	sleep "$1" || exit # C-c interrupts the pause: end then, as agents do
}

case $role in
work)
	echo "My task: $prompt"
	step=1
	while :; do
		echo "$(date +%T) step $step: still at it"
		step=$((step + 1))
		pause 2
	done
	;;
finish)
	echo "My task: $prompt"
	pause 2
	echo "Done. Exit status 0; this terminal is now a shell in my folder, for you to look around."
	;;
crash)
	echo "My task: $prompt"
	pause 1
	echo "Something went badly wrong. Exit status 3." >&2
	exit 3
	;;
ask)
	echo "What is your name?"
	while read -r name; do
		echo "Hello $name! Who else is there?"
	done
	;;
*)
	echo "usage: $0 work|finish|crash|ask [PROMPT]" >&2
	exit 64
	;;
esac
