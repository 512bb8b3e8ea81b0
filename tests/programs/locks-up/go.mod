module locksup

go 1.19
