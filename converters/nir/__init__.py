"""Export to NIR, the neuromorphic intermediate representation, and back."""

from snnfer.converters.nir.export import to_nir
from snnfer.converters.nir.load import from_nir
from snnfer.converters.nir.verify import NirVerification, verify_nir

__all__ = ["NirVerification", "from_nir", "to_nir", "verify_nir"]
