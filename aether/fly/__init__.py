"""The Fly Machines API, as aether uses it."""
