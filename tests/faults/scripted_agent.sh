#!/bin/sh
# scripted_agent.sh FOLDER NAME KIND: the agent of the fault runs. It writes down its start and its end, holds a lock
# for life (inherited by all that it starts), and waits without cost until FOLDER/NAME.fifo tells it an exit status,
# or how many lines to say.
folder=$1 name=$2 kind=$3
case $kind in stubborn) trap '' HUP INT QUIT TERM ;; esac
exec 9>>"$folder/$name.lock"
read -r up rest </proc/uptime
flock -n 9 || echo "$name $$ $AGENTD_RUN_ID $up" >>"$folder/overlaps"
echo "start $$ $GENERATION $AGENTD_RUN_ID $up" >>"$folder/$name.marks"
case $kind in
stubborn)
	# Out of the session, without a parent, without a terminal, deaf to everything but SIGKILL.
	(setsid sh -c 'trap "" HUP INT QUIT TERM; exec sleep 3600' </dev/null >/dev/null 2>&1 &)
	;;
breeder)
	# A fork bomb that is bounded: 40 processes, half of them in sessions of their own.
	n=0
	while [ $n -lt 20 ]; do
		sleep 3600 &
		(setsid sleep 3600 </dev/null >/dev/null 2>&1 &)
		n=$((n + 1))
	done
	;;
closer)
	exec </dev/null >/dev/null 2>&1
	;;
flood)
	head -c 5000000 /dev/zero | tr '\0' 'x' | fold -w 79
	;;
deluge)
	head -c 100000000 /dev/zero | tr '\0' 'x' | fold -w 79
	;;
titles)
	printf '\033]2;agentd\007\033]0;%%0 $0\007\033k_agentd\033\\\033[21t\033c'
	;;
esac
# What the shell says of a signal that interrupts it is nothing that the agent says.
exec 2>/dev/null
said=0
while :; do
	if read -r status lines <"$folder/$name.fifo"; then
		if [ "$status" = say ]; then
			# What is said can be foretold, so that every byte of it can be looked for.
			while [ "$lines" -gt 0 ]; do
				said=$((said + 1)) lines=$((lines - 1))
				echo "$AGENTD_RUN_ID $said ........................................................."
			done
			echo "$said" >"$folder/$AGENTD_RUN_ID.said.part"
			mv "$folder/$AGENTD_RUN_ID.said.part" "$folder/$AGENTD_RUN_ID.said"
			continue
		fi
		read -r up rest </proc/uptime
		echo "end $$ $GENERATION $AGENTD_RUN_ID $up $status" >>"$folder/$name.marks"
		exit "$status"
	fi
done
