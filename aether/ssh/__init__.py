"""SSH to the machines."""
