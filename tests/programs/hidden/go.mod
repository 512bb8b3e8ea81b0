module hidden

go 1.19
