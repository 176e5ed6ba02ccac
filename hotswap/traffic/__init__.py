"""The traffic plan on its way between processes."""
