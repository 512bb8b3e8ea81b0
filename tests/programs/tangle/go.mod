module tangle

go 1.19
