"""Export and conversion of trained networks; arrives in a later version."""
