"""Thin Tornado handlers: check Host and Origin, decode, one call, encode."""
