"""The machines: what can be asked of one, and what happens to it then."""
