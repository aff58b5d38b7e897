"""People, their one role, their organisation, their tokens."""
