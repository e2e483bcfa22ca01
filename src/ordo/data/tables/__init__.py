"""Tables: one token per cell."""
