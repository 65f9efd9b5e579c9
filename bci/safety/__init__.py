"""Gate, guard and what lies between them."""
