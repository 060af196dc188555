"""Export to lava: netx files, and their simulation by lava itself."""
