"""The process: settings, signals, sockets, file watching, logging, systemd notification."""
