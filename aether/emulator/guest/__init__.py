"""What runs inside a machine; imports nothing, because each boot imports it."""
