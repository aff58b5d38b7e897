"""What people are told in the page: that something of theirs moved, waits or fell silent."""
