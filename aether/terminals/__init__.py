"""Terminals: the shells that users open, and the clients attached to them."""
