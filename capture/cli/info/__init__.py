"""`pi0-capture info`: the contents of a results file on one screen of a terminal."""
