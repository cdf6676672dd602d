"""Many runs of one script: trained, evaluated on the same tasks, in one table and one picture.

A run is the unit (`work`): whoever asks for it, it is done once, goes on where it stopped, and is
locked while somebody works on it. A script hands over its functions (`Comparable`, `Script`).
"""
