"""What a machine runs in: processes, containers, or nothing at all."""
