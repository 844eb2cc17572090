"""The fleet: the machines aether manages, from their creation to their destruction."""
