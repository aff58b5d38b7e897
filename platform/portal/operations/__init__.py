"""What keeps a deployment going: how parties are, pauses for maintenance, what is deleted when."""
