"""From text to a plan, and the signed objects around it."""
