"""systemd: starting the tmux server as a service, and the notification protocol."""
