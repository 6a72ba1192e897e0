"""How the bytes of a plan come about: pieces, cut, evaluated, measured, written."""
