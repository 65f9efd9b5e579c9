"""The signal viewer."""
