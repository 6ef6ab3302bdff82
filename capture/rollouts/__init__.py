"""Recording of a policy while it acts: one results file an episode, written beside the calls that it never delays.

`writer.RolloutWriter` writes what it is handed, whoever calls the policy: a policy server, or `RolloutRecorder` in a
loop of the user's own.
"""
