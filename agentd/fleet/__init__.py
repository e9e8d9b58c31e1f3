"""The same jcard over many hosts: where agents are placed, and how the fleet is asked."""
