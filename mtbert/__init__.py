"""Labels learned from text and tables together. So far: the text steps of :mod:`mtbert.text`."""
