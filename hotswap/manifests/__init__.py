"""Manifests: files that say what somebody wants, and the changes that lead there from what is.

`schema` says what a file may hold, `reading` reads it and names the line of each mistake, `looking` asks the API what
is, `planning` is the pure difference of the two, and `carrying` carries it out by the public client. A plan holds only
what differs, so a second plan is empty. What no file names is left alone: nothing is ever deleted.
"""
