"""Which tokens a corpus uses: counting, choosing, and the proof that what is kept is cut as before."""
