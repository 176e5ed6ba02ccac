"""What somebody wants to be so, written in files, and the way there from what is so.

`schema` says what a file may hold, `reading` reads it and names the line of what is wrong, `looking` asks what is so,
`planning` is the pure difference of the two, and `carrying` makes it so by the public client. A plan holds only what
differs, so the second time there is nothing in it. What no file speaks of is left alone: nothing is ever deleted.
"""
