"""What a coding agent reads of a managed agent's definition: its own kind of configuration, by serializers alone."""
