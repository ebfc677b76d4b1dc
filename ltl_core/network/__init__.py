"""What a network is: layers, their graph, and the stages in which it is computed."""
