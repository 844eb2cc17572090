"""Thin Tornado handlers: check the door, decode, one call, encode."""
