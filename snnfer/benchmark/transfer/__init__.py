"""Transfer: an encoder learns by reconstructing faces and is reused to recognise what they do (evTransFER)."""
