"""The claims and the speeds, measured.

Names are imported from the modules themselves, so that a process whose memory is measured loads no more than it needs.
"""
