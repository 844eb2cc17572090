"""The Machines API over HTTP."""
