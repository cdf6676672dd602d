"""The page `metarl explore`: mazes that one draws, and agents that one watches in them.

    board      a maze as the page draws it, and its code in a link
    arena      what the page asks of whoever knows mazes
    players    who plays: agents of the package, agents of runs, keys
    trial      a trial, step by step, with what the agent saw, wanted and remembered
    page       the answers to what a request may ask for
    server     the routes, and `guard` around them
    command    the command line
    static/    the page itself: plain HTML, CSS and JavaScript, served as it is

A trial is a function of what is asked: the maze, the agent, the seed. The server keeps nothing
between two requests but agents that it has loaded, and the same link shows the same trial.
"""
