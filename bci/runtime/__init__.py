"""The session that wires everything."""
