"""Export to NIR, the neuromorphic intermediate representation, and back."""
